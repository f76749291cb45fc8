//! The text of `/setup`.

use larder_doctor::{ClientPlan, ClientProgram, Target};
use larder_server::Reached;

use super::trust;

/// What each client has to be told, for the address by which the page was reached.
pub(crate) fn page(reached: &Reached) -> String {
    let Ok(target) = reached.url.parse::<Target>() else {
        return "The address that this page was asked by is no registry's.\n".to_owned();
    };
    let plan = ClientPlan {
        registry: target.authority(),
        tls: !target.is_plain(),
        root: reached.root.clone(),
        upstreams: reached.prefixes.clone(),
        authority: reached.authority.as_ref().map(|authority| authority.certificate.clone()),
    };
    let registry = &plan.registry;
    let mut text = format!(
        "\
This is a container registry. Images are named {registry}/NAME:TAG.

    docker login {registry}
    docker tag app {registry}/team/app:1
    docker push {registry}/team/app:1

If something fails, on the machine where it fails: larder doctor {registry}
"
    );
    for upstream in plan.root.iter() {
        text.push_str(&format!("Images of {upstream} are there, too: {registry}/NAME\n"));
    }
    for upstream in &plan.upstreams {
        text.push_str(&format!("Images of {upstream} are there, too: {registry}/{upstream}/NAME\n"));
    }
    if let Some(authority) = reached.authority.as_ref().filter(|_| plan.tls) {
        text.push_str(&trust::section(registry, authority));
    }
    let clients = [
        ("docker", ClientProgram::Docker),
        ("containerd, Kubernetes", ClientProgram::Containerd),
        ("k3s", ClientProgram::K3s),
        ("podman, buildah, skopeo, CRI-O", ClientProgram::Podman),
        ("BuildKit", ClientProgram::Buildkit),
        ("Kubernetes' secrets", ClientProgram::Kubernetes),
        ("GitHub Actions", ClientProgram::GithubActions),
    ];
    for (title, client) in clients {
        text.push_str(&format!("\n== {title}\n"));
        let files = client.files(&plan);
        if files.is_empty() {
            text.push_str("Nothing has to be told.\n");
        }
        for (number, file) in files.into_iter().enumerate() {
            text.push_str(if number == 0 { "" } else { "\n" });
            if !file.path.as_os_str().is_empty() {
                text.push_str(&format!("# {}\n", file.path.display()));
            }
            text.push_str(&file.content);
            if let Some(caveat) = file.caveat() {
                text.push_str(&format!("# note: {caveat}\n"));
            }
            if !file.then.is_empty() {
                text.push_str(&format!("# then: {}\n", file.then));
            }
        }
    }
    if plan.tls && plan.authority.is_none() {
        text.push_str(&format!(
            "\n== An authority of your own\nClients that don't know the authority of this registry's certificate need it as\n\
             /etc/docker/certs.d/{registry}/ca.crt and /etc/containers/certs.d/{registry}/ca.crt;\n\
             larder client PROGRAM {registry} --ca ca.crt prints the rest.\n"
        ));
    }
    text
}

#[cfg(test)]
mod tests {
    use larder_server::OwnAuthority;

    use super::*;

    #[test]
    fn the_page_is_filled_in_for_the_address_and_the_upstreams() {
        let reached = Reached {
            url: "https://reg.lan:5000".to_owned(),
            root: Some("docker.io".to_owned()),
            prefixes: vec!["ghcr.io".to_owned()],
            authority: None,
        };
        let text = page(&reached);
        for part in [
            "docker push reg.lan:5000/team/app:1",
            "\"https://reg.lan:5000\"",
            "[host.\"https://reg.lan:5000/v2/ghcr.io\"]",
            "reg.lan:5000/ghcr.io/NAME",
            "/etc/docker/certs.d/reg.lan:5000/ca.crt",
        ] {
            assert!(text.contains(part), "{part} is not in\n{text}");
        }
        assert!(!text.contains("/setup/ca.crt"), "{text}");
        let own = OwnAuthority { certificate: "-----BEGIN".to_owned(), fingerprint: "AB:CD".to_owned() };
        let own = page(&Reached { authority: Some(own), ..reached });
        for line in [
            "\nAB:CD\n",
            "curl -fsSk https://reg.lan:5000/setup/ca.crt | sudo install -D -m 644 /dev/stdin /etc/docker/certs.d/reg.lan:5000/ca.crt\n",
            "ca = \"/etc/containerd/certs.d/reg.lan:5000/ca.crt\"",
        ] {
            assert!(own.contains(line), "{line} is not in\n{own}");
        }
        let plain = page(&Reached {
            url: "http://nas:5000".to_owned(),
            root: None,
            prefixes: vec![],
            authority: None,
        });
        assert!(plain.contains("insecure-registries") && !plain.contains("https://nas"), "{plain}");
        assert!(!plain.contains("# note"), "{plain}");
        let below = page(&Reached {
            url: "https://nas:5000".to_owned(),
            root: None,
            prefixes: vec!["docker.io".to_owned()],
            authority: None,
        });
        assert!(
            below.contains("# note: for Engine 25 or newer; an older one doesn't start with it"),
            "{below}"
        );
    }
}
