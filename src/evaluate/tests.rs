//! The flow as a whole, on a replicator that answers as it is told.

mod cases;
mod choices;
mod messages;
