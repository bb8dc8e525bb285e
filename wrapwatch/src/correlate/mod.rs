//! Events → connections: one state machine a thread, one registry of open connections, bounded memory. No I/O, no clock:
//! time is what the events say.
