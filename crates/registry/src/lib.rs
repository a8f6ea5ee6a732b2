//! A client for OCI registries: transport layers below, verbs over descriptors above
