//! A server that speaks over its standard input and output, as a Streamable HTTP server.
