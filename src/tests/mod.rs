//! The store as a whole on the simulated disk.
