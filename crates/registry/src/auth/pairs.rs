//! Which token endpoints belong to a registry whose configuration does not say. A registry that
//! names another one may have been talked into it, so credentials do not go there.

/// Registries with their token endpoint at another site, by host.
const KNOWN: [(&str, &str); 1] = [
    // Named once a token has ended; before that it is the registry's own host.
    ("nvcr.io", "authn.nvidia.com"),
];

/// Whether the token endpoint belongs to the registry, both given by host.
pub(super) fn belong_together(registry: &str, realm: &str) -> bool {
    registry == realm || KNOWN.contains(&(registry, realm)) || are_of_one_site(registry, realm)
}

/// Whether both are below one name that somebody registered, by the public suffix list. Suffixes
/// that are not on it (`.corp`, `.cluster.local`) say nothing about who owns what is below.
fn are_of_one_site(one: &str, other: &str) -> bool {
    match (psl::domain(one.as_bytes()), psl::domain(other.as_bytes())) {
        (Some(one), Some(other)) => one == other && one.suffix().is_known(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_21_token_endpoints_of_registries_that_are_known() {
        for (registry, realm) in [
            ("registry-1.docker.io", "auth.docker.io"),
            ("registry.gitlab.com", "gitlab.com"),
            ("docker.elastic.co", "docker-auth.elastic.co"),
            ("registry.digitalocean.com", "api.digitalocean.com"),
            ("registry.git.example.co.uk", "git.example.co.uk"),
            ("ghcr.io", "ghcr.io"),
            ("nvcr.io", "authn.nvidia.com"),
            ("registry.corp", "registry.corp"),
            ("10.0.0.7", "10.0.0.7"),
        ] {
            assert!(belong_together(registry, realm), "{registry} {realm}");
        }
    }

    #[test]
    fn case_21_neighbours_under_one_suffix_are_strangers() {
        for (registry, realm) in [
            ("registry-1.docker.io", "auth.docker.io.evil.example"),
            ("registry-1.docker.io", "evildocker.io"),
            ("ghcr.io", "quay.io"),
            ("registry.co.uk", "evil.co.uk"),
            ("team.github.io", "evil.github.io"),
            ("registry.corp", "evil.corp"),
            ("registry.shop.svc.cluster.local", "evil.other.svc.cluster.local"),
            ("10.0.0.7", "10.0.0.8"),
            ("nvcr.io", "nvidia.com"),
            ("authn.nvidia.com", "nvcr.io"),
        ] {
            assert!(!belong_together(registry, realm), "{registry} {realm}");
        }
    }
}
