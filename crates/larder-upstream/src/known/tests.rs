use reqwest::Url;

use super::{KNOWN, KnownRegistry, known};
use crate::base_url::BaseUrl;
use crate::reach::{Reach, WrittenDown};

/// What a registry's own answers lead to.
struct Row {
    name: &'static str,
    /// An image's manifest, where it is asked for.
    manifest: &'static str,
    /// `nginx` there, as it stands in the address.
    image: &'static str,
    /// The token server that its challenges name.
    realm: Option<&'static str>,
    /// A host that it redirects to.
    cdn: &'static str,
}

const ROWS: [Row; 7] = [
    Row {
        name: "docker.io",
        manifest: "https://registry-1.docker.io/v2/library/nginx/manifests/latest",
        image: "library/nginx",
        realm: Some("https://auth.docker.io/token"),
        cdn: "production.cloudflare.docker.com",
    },
    Row {
        name: "ghcr.io",
        manifest: "https://ghcr.io/v2/nginx/manifests/latest",
        image: "nginx",
        realm: Some("https://ghcr.io/token"),
        cdn: "pkg-containers.githubusercontent.com",
    },
    Row {
        name: "quay.io",
        manifest: "https://quay.io/v2/nginx/manifests/latest",
        image: "nginx",
        realm: Some("https://quay.io/v2/auth"),
        cdn: "cdn01.quay.io",
    },
    Row {
        name: "registry.k8s.io",
        manifest: "https://registry.k8s.io/v2/nginx/manifests/latest",
        image: "nginx",
        realm: Some("https://registry.k8s.io/token"),
        cdn: "europe-west3-docker.pkg.dev",
    },
    Row {
        name: "gcr.io",
        manifest: "https://gcr.io/v2/nginx/manifests/latest",
        image: "nginx",
        realm: Some("https://gcr.io/v2/token"),
        cdn: "storage.googleapis.com",
    },
    Row {
        name: "mcr.microsoft.com",
        manifest: "https://mcr.microsoft.com/v2/nginx/manifests/latest",
        image: "nginx",
        realm: None,
        cdn: "eastus.data.mcr.microsoft.com",
    },
    Row {
        name: "public.ecr.aws",
        manifest: "https://public.ecr.aws/v2/nginx/manifests/latest",
        image: "nginx",
        realm: Some("https://public.ecr.aws/token/"),
        cdn: "d2glxqk2uabbnd.cloudfront.net",
    },
];

#[test]
fn each_known_registry_is_asked_where_it_answers_and_led_on_by_it() {
    assert_eq!(ROWS.map(|row| row.name), KNOWN.map(|each| each.name));
    for row in ROWS {
        let registry = known(row.name).unwrap();
        let image = if registry.has_library { "library/nginx" } else { "nginx" };
        assert_eq!(image, row.image, "{}", row.name);
        let base: BaseUrl = registry.url.parse().unwrap();
        let manifest = base.of(&image.parse().unwrap(), "manifests/latest");
        assert_eq!(manifest.as_str(), row.manifest);
        assert_eq!(base.name_there(&image.parse().unwrap()), row.image);
        // Its CDN is reached without being written down, at public addresses alone and never in plain text.
        let written_down = WrittenDown::new([base.url()], &[]);
        let cdn = |scheme: &str| Url::parse(&format!("{scheme}://{}/a?signed=1", row.cdn)).unwrap();
        assert_eq!(written_down.admit(&cdn("https"), "https"), Ok(Reach::Public), "{}", row.cdn);
        assert!(written_down.admit(&cdn("http"), "https").is_err(), "{}", row.cdn);
        // Its token server is on its own site, and may be told an account's password.
        if let Some(realm) = row.realm {
            let realm = base.base().join(realm).unwrap();
            assert!(written_down.admit(&realm, "https").is_ok(), "{realm}");
            assert!(written_down.may_learn_passwords(&realm), "{realm}");
        }
    }
}

#[test]
fn a_registry_is_known_by_its_name_by_its_host_and_by_its_older_names() {
    for registry in &KNOWN {
        let host = registry.url.strip_prefix("https://").unwrap();
        assert_eq!(KnownRegistry::at(host), Some(registry));
        assert_eq!(known(registry.name), Some(registry));
        for older in registry.also {
            assert_eq!(known(older), Some(registry), "{older}");
        }
    }
    for (older, name) in [
        ("index.docker.io", "docker.io"),
        ("registry-1.docker.io", "docker.io"),
        ("registry.hub.docker.com", "docker.io"),
        ("k8s.gcr.io", "registry.k8s.io"),
    ] {
        assert_eq!(known(older).map(|registry| registry.name), Some(name), "{older}");
    }
    // docker.io itself is a web site, and no registry answers there.
    assert_eq!(KnownRegistry::at("docker.io"), None);
    for stranger in ["", "docker.com", "eu.gcr.io", "ghcr.io.example", "GHCR.IO"] {
        assert_eq!(known(stranger), None, "{stranger}");
    }
}
