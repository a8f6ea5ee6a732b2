//! A scripted registry that can misbehave, image builders and certificates for tests
