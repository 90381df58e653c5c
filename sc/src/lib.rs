//! The streaming controller: topology in a metadata store, behind a REST API.
