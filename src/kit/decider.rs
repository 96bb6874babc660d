//! Deciding: from a state and a command to events, from events to the state.

use super::typed::EventSet;

/// What decides: pure functions over the events of one entity, or of whatever a query finds.
///
/// `decide` says which events a command leads to, or why it is refused; `evolve` says what the
/// state is after an event. Neither reads, writes, nor looks at a clock: what they need beyond the
/// state stands in the command (or in the decider itself, where it never changes). So they can be
/// called again with what another has written meanwhile, and tested
/// [without a store](super::Scenario). A [`Repository`](super::Repository) runs one.
///
/// ```
/// # #[cfg(all(feature = "derive", feature = "json"))] {
/// use annals::kit::{Decider, EventSet, Repository};
/// use annals::Store;
///
/// #[derive(EventSet)]
/// enum Account {
///     #[event(name = "Deposited")]
///     Deposited { amount: u64 },
///     #[event(name = "Withdrawn")]
///     Withdrawn { amount: u64 },
/// }
///
/// enum Command {
///     Deposit(u64),
///     Withdraw(u64),
/// }
///
/// struct Accounts;
///
/// impl Decider for Accounts {
///     type State = u64;
///     type Command = Command;
///     type Event = Account;
///     type Error = &'static str;
///
///     fn initial(&self) -> u64 {
///         0
///     }
///     fn decide(&self, balance: &u64, command: &Command) -> Result<Vec<Account>, &'static str> {
///         match *command {
///             Command::Deposit(amount) => Ok(vec![Account::Deposited { amount }]),
///             Command::Withdraw(amount) if amount > *balance => Err("not enough"),
///             Command::Withdraw(amount) => Ok(vec![Account::Withdrawn { amount }]),
///         }
///     }
///     fn evolve(&self, balance: u64, event: &Account) -> u64 {
///         match event {
///             Account::Deposited { amount } => balance + amount,
///             Account::Withdrawn { amount } => balance - amount,
///         }
///     }
/// }
///
/// let accounts = Repository::new(&Store::in_memory()?, Accounts);
/// assert_eq!(accounts.execute("Account-a", Command::Deposit(5)).unwrap().state, 5);
/// assert!(accounts.execute("Account-a", Command::Withdraw(6)).is_err());
/// # }
/// # Ok::<(), annals::Error>(())
/// ```
pub trait Decider {
    /// What decisions rest on.
    type State;
    /// What is asked for.
    type Command;
    /// What happens.
    type Event: EventSet;
    /// Why a command is refused.
    type Error;

    /// The state before the first event.
    fn initial(&self) -> Self::State;

    /// The events that a command leads to; none where there is nothing to do.
    ///
    /// # Errors
    ///
    /// Why it is refused. Nothing is written then.
    fn decide(
        &self,
        state: &Self::State,
        command: &Self::Command,
    ) -> Result<Vec<Self::Event>, Self::Error>;

    /// The state after an event.
    fn evolve(&self, state: Self::State, event: &Self::Event) -> Self::State;
}
