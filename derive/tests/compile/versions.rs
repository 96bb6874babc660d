use annals_derive::{EventSet, TypedEvent};

#[derive(TypedEvent)]
#[event(name = "OrderPlaced", version = 0)]
struct Zero;

#[derive(TypedEvent)]
#[event(name = "OrderPlaced", version = 4294967296)]
struct TooHigh;

#[derive(EventSet)]
enum Text {
    #[event(name = "OrderPlaced", version = "2")]
    Placed,
}

fn main() {}
