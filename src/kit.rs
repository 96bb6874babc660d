//! What applications build on the store: on its public calls alone.

mod group;

pub use group::{
    Consumer, ConsumerGroup, ConsumerInfo, Delivery, GroupBuilder, GroupInfo, ParkedEvent,
    ParkedPolicy,
};
