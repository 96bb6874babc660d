//! Nothing: the models are the tests of this package.
