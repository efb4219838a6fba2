//! QUIC links between the processes of a Selvedge mesh, and their client-facing endpoint.
