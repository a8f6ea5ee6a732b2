//! The copy engine: walks an image as a graph and moves it, verified, between registries
