//! How to get there: wanted objects, the difference to what is, the order, the checks.
