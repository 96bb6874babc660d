use annals_derive::EventSet;

#[derive(EventSet)]
enum Missing {
    Placed { order: u32 },
    #[event(version = 2)]
    Paid { order: u32 },
}

#[derive(EventSet)]
enum Twice {
    #[event(name = "OrderPlaced")]
    Placed { order: u32 },
    #[event(name = "OrderPlaced", version = 2)]
    Renamed { order: u32 },
}

#[derive(EventSet)]
enum Odd {
    #[event(name = "")]
    Empty,
    #[event(name = "a\nb")]
    Control,
    #[event(nmae = "OrderPlaced")]
    Misspelt,
}

fn main() {}
