//! Typed events: what the derives write, and what they read back or refuse.

use annals::kit::{EventSet, Payload, Schema, TypedEvent, codec};
use annals::{Error, ExpectedVersion, NewEvent, SchemaError, Store};
use serde::{Deserialize, Serialize};

#[derive(TypedEvent, Serialize, Deserialize, Debug, Clone, PartialEq)]
#[event(name = "OrderNoted", version = 3)]
struct Noted {
    #[event(tag = "author")]
    author: String,
    text: String,
}

fn is_false(value: &bool) -> bool {
    !*value
}

#[derive(EventSet, Debug, Clone, PartialEq)]
enum Order {
    #[event(name = "OrderPlaced", version = 2)]
    #[serde(rename_all = "camelCase")]
    Placed {
        #[event(tag = "customer")]
        customer_id: u32,
        #[serde(default)]
        note: Option<String>,
        #[serde(default, skip_serializing_if = "is_false")]
        is_gift: bool,
    },
    #[event(name = "OrderShipped")]
    Shipped,
    #[event(name = "OrderWeighed")]
    Weighed(#[event(tag = "grams")] u64),
    #[event(name = "LabelPrinted", codec = "raw")]
    Label(Vec<u8>),
    #[event(typed)]
    Noted(Noted),
}

fn all() -> Vec<Order> {
    vec![
        Order::Placed { customer_id: 7, note: Some("x".into()), is_gift: true },
        Order::Placed { customer_id: 8, note: None, is_gift: false },
        Order::Shipped,
        Order::Weighed(900),
        Order::Label(vec![0, 255]),
        Order::Noted(Noted { author: "a".into(), text: "b".into() }),
    ]
}

#[test]
fn the_names_and_versions_are_those_that_were_said() {
    let expected = [
        Schema::new("OrderPlaced", 2),
        Schema::new("OrderShipped", 1),
        Schema::new("OrderWeighed", 1),
        Schema::new("LabelPrinted", 1),
        Schema::new("OrderNoted", 3),
    ];
    assert_eq!(Order::SCHEMAS, expected);
}

#[test]
fn every_shape_is_stored_as_documented_and_comes_back() {
    let store = Store::in_memory().unwrap();
    let events: Vec<NewEvent> = all().iter().map(|e| e.to_event().unwrap()).collect();
    store.append("Order-1", ExpectedVersion::NoStream, events).unwrap();
    let mut stored = Vec::new();
    for (event, written) in store.read_stream("Order-1").into_iter().zip(all()) {
        let event = event.unwrap();
        assert_eq!(Order::from_event(&event).unwrap(), written);
        let tags: Vec<_> = event.tags().map(str::to_owned).collect();
        let text = String::from_utf8_lossy(event.data()).into_owned();
        stored.push((event.content_type().to_owned(), text, tags.join(" ")));
    }
    let row = |a: &str, b: &str, c: &str| (a.to_owned(), b.to_owned(), c.to_owned());
    let placed = r#"{"customerId":7,"note":"x","isGift":true}"#;
    assert_eq!(
        stored,
        [
            row(codec::JSON, placed, "customer:7"),
            row(codec::JSON, r#"{"customerId":8,"note":null}"#, "customer:8"),
            row(codec::JSON, "{}", ""),
            row(codec::JSON, "900", "grams:900"),
            row(codec::RAW, "\0\u{fffd}", ""),
            row(codec::JSON, r#"{"author":"a","text":"b"}"#, "author:a"),
        ]
    );
}

fn read(name: &str, version: u32, content_type: &str, data: &str) -> Result<Order, SchemaError> {
    let payload = Payload::new(name, version, content_type, data);
    Order::from_payload(payload.as_ref()).map_err(|e| match e {
        Error::Schema(e) => e,
        e => panic!("{e}"),
    })
}

#[test]
fn what_cannot_be_read_says_why() {
    let json = codec::JSON;
    assert!(matches!(
        read("OrderLost", 1, json, "{}"),
        Err(SchemaError::UnknownType { found }) if found.event_type == "OrderLost"
    ));
    for version in [1, 3] {
        assert!(matches!(
            read("OrderPlaced", version, json, r#"{"customerId":7}"#),
            Err(SchemaError::UnknownVersion { found, current: 2 })
                if found.schema_version == version
        ));
    }
    assert!(matches!(
        read("OrderNoted", 2, json, "{}"),
        Err(SchemaError::UnknownVersion { current: 3, .. })
    ));
    for data in ["", "{", "{}", r#"{"customerId":-1}"#, r#"{"customerId":7} x"#] {
        let error = read("OrderPlaced", 2, json, data).unwrap_err();
        assert!(matches!(error, SchemaError::Undecodable { .. }), "{data}: {error}");
    }
    let error = read("OrderPlaced", 2, "text/xml", r#"{"customerId":7}"#).unwrap_err();
    let said = error.to_string();
    assert!(said.contains("text/xml") && said.contains("application/json"), "{said}");
}

#[test]
fn bytes_that_say_nothing_are_taken_for_what_the_type_writes() {
    assert_eq!(
        read("OrderPlaced", 2, codec::RAW, r#"{"customerId":7,"unknown":1}"#),
        Ok(Order::Placed { customer_id: 7, note: None, is_gift: false })
    );
}

#[test]
fn an_error_of_a_stored_event_has_its_position() {
    let store = Store::in_memory().unwrap();
    store.append("Order-1", ExpectedVersion::Any, [Order::Shipped.to_event().unwrap()]).unwrap();
    let broken = NewEvent::new("OrderWeighed", "heavy").content_type(codec::JSON);
    store.append("Order-1", ExpectedVersion::Any, [broken]).unwrap();
    let event = store.read_stream("Order-1").into_iter().nth(1).unwrap().unwrap();
    let Err(Error::Schema(SchemaError::Undecodable { found, .. })) = Order::from_event(&event)
    else {
        panic!("text is no number");
    };
    assert_eq!((found.position.unwrap().0, found.event_type.as_str()), (2, "OrderWeighed"));
}

#[cfg(feature = "bincode")]
mod compact {
    use super::*;

    #[derive(EventSet, Debug, PartialEq)]
    #[event(codec = "bincode")]
    enum Compact {
        #[event(name = "Counted")]
        Counted { by: u32, names: Vec<String> },
        #[event(name = "Ended")]
        Ended,
        #[event(name = "Said", codec = "json")]
        Said { text: String },
    }

    #[test]
    fn bincode_is_compact_and_read_by_its_content_type() {
        let counted = Compact::Counted { by: 3, names: vec!["a".into(), "bc".into()] };
        let payload = counted.to_payload().unwrap();
        assert_eq!(payload.content_type, codec::BINCODE);
        assert_eq!(payload.data, [3, 2, 1, b'a', 2, b'b', b'c']);
        assert_eq!(Compact::from_payload(payload.as_ref()).unwrap(), counted);
        assert!(Compact::Ended.to_payload().unwrap().data.is_empty());
        let said = Compact::Said { text: "x".into() };
        assert_eq!(said.to_payload().unwrap().content_type, codec::JSON);
        // Written before the codec was changed.
        let json = Payload::new("Counted", 1, codec::JSON, r#"{"by":3,"names":["a","bc"]}"#);
        assert_eq!(Compact::from_payload(json.as_ref()).unwrap(), counted);
    }

    #[test]
    fn no_bytes_make_bincode_panic_or_pass_for_more_than_they_are() {
        let whole = Compact::Counted { by: 3, names: vec!["a".into(), "bc".into()] };
        let whole = whole.to_payload().unwrap().data;
        let read = |data: &[u8]| {
            let payload = Payload::new("Counted", 1, codec::BINCODE, data);
            Compact::from_payload(payload.as_ref())
        };
        for len in 0..whole.len() {
            assert!(read(&whole[..len]).is_err(), "the first {len} bytes");
        }
        assert!(read(&[&whole[..], &[0]].concat()).is_err(), "a byte too many");
        // Lengths that nobody has: of the list, and of a name in it.
        for long in [
            [3, 253, 255, 255, 255, 255, 255, 255, 255, 255, 255],
            [3, 1, 253, 255, 255, 255, 255, 255, 255, 255, 127],
        ] {
            assert!(read(&long).is_err());
        }
    }
}
