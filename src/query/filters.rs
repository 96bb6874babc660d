//! The calls that narrow a query, written once for all builders that have one.

/// The calls that narrow a query, for a builder with a field `query`.
macro_rules! filters {
    () => {
        /// Only events of a stream. See [`Query::stream`](crate::Query::stream).
        pub fn stream(mut self, name: impl Into<String>) -> Self {
            self.query = self.query.stream(name);
            self
        }

        /// Only events of some streams. See [`Query::streams`](crate::Query::streams).
        pub fn streams<T: Into<String>>(mut self, names: impl IntoIterator<Item = T>) -> Self {
            self.query = self.query.streams(names);
            self
        }

        /// Only events of streams whose name begins with this. See
        /// [`Query::stream_prefix`](crate::Query::stream_prefix).
        pub fn stream_prefix(mut self, prefix: impl Into<String>) -> Self {
            self.query = self.query.stream_prefix(prefix);
            self
        }

        /// Only events of a category. See [`Query::category`](crate::Query::category).
        pub fn category(mut self, category: impl Into<String>) -> Self {
            self.query = self.query.category(category);
            self
        }

        /// Only events of some categories. See [`Query::categories`](crate::Query::categories).
        pub fn categories<T: Into<String>>(mut self, names: impl IntoIterator<Item = T>) -> Self {
            self.query = self.query.categories(names);
            self
        }

        /// Only events of a type. See [`Query::event_type`](crate::Query::event_type).
        pub fn event_type(mut self, event_type: impl Into<String>) -> Self {
            self.query = self.query.event_type(event_type);
            self
        }

        /// Only events of some types. See [`Query::types`](crate::Query::types).
        pub fn types<T: Into<String>>(mut self, types: impl IntoIterator<Item = T>) -> Self {
            self.query = self.query.types(types);
            self
        }

        /// Only events that have a tag. See [`Query::tag`](crate::Query::tag).
        pub fn tag(mut self, tag: impl Into<String>) -> Self {
            self.query = self.query.tag(tag);
            self
        }

        /// Only events that have one of some tags. See [`Query::any_tag`](crate::Query::any_tag).
        pub fn any_tag<T: Into<String>>(mut self, tags: impl IntoIterator<Item = T>) -> Self {
            self.query = self.query.any_tag(tags);
            self
        }

        /// Only events with a correlation id. See
        /// [`Query::correlation`](crate::Query::correlation).
        pub fn correlation(mut self, id: impl Into<String>) -> Self {
            self.query = self.query.correlation(id);
            self
        }

        /// Only events with a causation id. See [`Query::causation`](crate::Query::causation).
        pub fn causation(mut self, id: impl Into<String>) -> Self {
            self.query = self.query.causation(id);
            self
        }

        /// Only events created in a range of time. See [`Query::between`](crate::Query::between).
        pub fn between<T>(mut self, range: std::ops::Range<T>) -> Self
        where
            T: Into<crate::position::Timestamp>,
        {
            self.query = self.query.between(range);
            self
        }

        /// Only events created then or later. See [`Query::since`](crate::Query::since).
        pub fn since(mut self, time: impl Into<crate::position::Timestamp>) -> Self {
            self.query = self.query.since(time);
            self
        }

        /// Only events created before. See [`Query::until`](crate::Query::until).
        pub fn until(mut self, time: impl Into<crate::position::Timestamp>) -> Self {
            self.query = self.query.until(time);
            self
        }
    };
}
pub(crate) use filters;
