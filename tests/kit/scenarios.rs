//! Given, when, then: what a failing scenario says.

use std::panic::{AssertUnwindSafe, catch_unwind};

use annals::kit::{Decider, EventSet, Scenario};

#[derive(EventSet, Debug, PartialEq)]
enum Order {
    #[event(name = "Placed")]
    Placed { items: u32 },
    #[event(name = "Shipped")]
    Shipped,
    #[event(name = "Forgetful")]
    Forgetful {
        #[serde(skip)]
        #[event(tag = "hidden")]
        hidden: u32,
    },
}

#[derive(Debug)]
enum Command {
    Place(u32),
    Ship,
    Forget,
}

struct Orders;

impl Decider for Orders {
    type State = u32;
    type Command = Command;
    type Event = Order;
    type Error = String;

    fn initial(&self) -> u32 {
        0
    }
    fn decide(&self, items: &u32, command: &Command) -> Result<Vec<Order>, String> {
        match command {
            Command::Place(0) => Ok(Vec::new()),
            Command::Place(items) => Ok(vec![Order::Placed { items: *items }]),
            Command::Ship if *items == 0 => Err("nothing is ordered".into()),
            Command::Ship => Ok(vec![Order::Shipped]),
            Command::Forget => Ok(vec![Order::Forgetful { hidden: 3 }]),
        }
    }
    fn evolve(&self, items: u32, event: &Order) -> u32 {
        match event {
            Order::Placed { items: more } => items + more,
            Order::Forgetful { hidden } => *hidden,
            Order::Shipped => 0,
        }
    }
}

fn failure(run: impl FnOnce()) -> String {
    let panic = catch_unwind(AssertUnwindSafe(run)).expect_err("the scenario should fail");
    panic.downcast_ref::<String>().unwrap().clone()
}

fn orders() -> Scenario<Orders> {
    Scenario::new(Orders)
}

#[test]
fn scenarios_hold() {
    orders()
        .when(Command::Place(2))
        .then([Order::Placed { items: 2 }])
        .then_state(|items| *items == 2);
    orders().when(Command::Place(0)).then_nothing();
    orders().when(Command::Ship).then_refused("nothing is ordered".into());
    orders().given([Order::Placed { items: 1 }]).when(Command::Ship).then([Order::Shipped]);
    let shipped = [Order::Placed { items: 1 }, Order::Shipped];
    orders().given(shipped).when(Command::Ship).then_refused("nothing is ordered".into());
}

#[test]
fn a_failing_scenario_says_all_of_it() {
    let said = failure(|| {
        let placed = [Order::Placed { items: 1 }];
        let _ = orders().given(placed).when(Command::Ship).then([Order::Shipped, Order::Shipped]);
    });
    let expected = [
        "",
        "given",
        "  1. Placed { items: 1 }",
        "when",
        "  Ship",
        "then, expected",
        "  1. Shipped",
        "  2. Shipped",
        "but decided",
        "  1. Shipped",
        "they differ from number 2 on",
        "",
    ];
    let expected = expected.join("\n");
    assert_eq!(said, expected);
    let said = failure(|| drop(orders().when(Command::Ship).then_nothing()));
    assert!(said.contains("given\n  nothing\n") && said.contains("refused: \"nothing"), "{said}");
    let said = failure(|| drop(orders().when(Command::Place(1)).then_refused("no".into())));
    assert!(said.contains("refused: \"no\"") && said.contains("1. Placed"), "{said}");
    let said = failure(|| drop(orders().when(Command::Place(1)).then_state(|items| *items == 2)));
    assert!(said.contains("the state behind it is not as expected"), "{said}");
}

#[test]
fn an_event_that_does_not_survive_its_encoding_is_found() {
    let said = failure(|| {
        drop(orders().when(Command::Forget).then([Order::Forgetful { hidden: 3 }]));
    });
    assert!(said.contains("not what comes back from its encoding"), "{said}");
}
