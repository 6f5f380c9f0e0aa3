"""Steps in time, for any state that is made of arrays."""
