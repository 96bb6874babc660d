use annals_derive::{EventSet, TypedEvent};

#[derive(TypedEvent)]
enum NotOne {
    Placed,
}

#[derive(EventSet)]
struct NotASet;

#[derive(EventSet)]
enum Nothing {}

#[derive(EventSet)]
enum Generic<T> {
    #[event(name = "OrderPlaced")]
    Placed(T),
}

#[derive(EventSet)]
enum Shapes {
    #[event(name = "Pair")]
    Pair(u32, u32),
    #[event(name = "Raw", codec = "raw")]
    RawFields { data: Vec<u8> },
    #[event(typed)]
    TypedFields { data: u32 },
    #[event(typed, name = "Both")]
    Both(u32),
    #[event(name = "Xml", codec = "xml")]
    Xml,
}

#[derive(EventSet)]
#[event(name = "Order")]
enum Named {
    #[event(name = "OrderPlaced")]
    Placed,
}

#[derive(TypedEvent)]
struct Nameless;

fn main() {}
