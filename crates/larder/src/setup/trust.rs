//! How each client comes to trust the registry's own authority: one line to paste for each.

use larder_server::OwnAuthority;

/// The section of `/setup`. `registry` is host and port, as images are named by it.
pub(super) fn section(registry: &str, authority: &OwnAuthority) -> String {
    let fetch = format!("curl -fsSk https://{registry}/setup/ca.crt");
    let into = |path: &str| format!("{fetch} | sudo install -D -m 644 /dev/stdin {path}");
    // A colon in a file's name is fine, and in a list of paths it isn't.
    let name = format!("larder-{}.crt", registry.replace([':', '[', ']'], "-"));
    let containerd = format!("/etc/containerd/certs.d/{registry}");
    let lines = [
        ("docker", into(&format!("/etc/docker/certs.d/{registry}/ca.crt"))),
        ("podman, buildah, skopeo, CRI-O", into(&format!("/etc/containers/certs.d/{registry}/ca.crt"))),
        (
            "containerd (where its config_path is /etc/containerd/certs.d)",
            format!(
                // In a tree of its own: containerd before 1.7 refuses a file without one.
                "{} && printf 'server = \"https://{registry}\"\\n[host.\"https://{registry}\"]\\n  ca = \"{containerd}/ca.crt\"\\n' | sudo tee {containerd}/hosts.toml",
                into(&format!("{containerd}/ca.crt"))
            ),
        ),
        ("curl", format!("{fetch} -o larder-ca.crt && curl --cacert larder-ca.crt https://{registry}/v2/")),
        (
            "everything on Debian and Ubuntu",
            format!(
                "{} && sudo update-ca-certificates",
                into(&format!("/usr/local/share/ca-certificates/{name}"))
            ),
        ),
        (
            "everything on Fedora and RHEL",
            format!("{} && sudo update-ca-trust", into(&format!("/etc/pki/ca-trust/source/anchors/{name}"))),
        ),
        (
            "everything on macOS",
            format!(
                "{fetch} -o larder-ca.crt && sudo security add-trusted-cert -d -r trustRoot -k /Library/Keychains/System.keychain \
                 larder-ca.crt"
            ),
        ),
    ];
    let mut text = format!(
        "\n== Trust this registry\nIts certificate is signed by an authority of its own, which each client has to trust once. These lines fetch it\n\
         without knowing yet who answers. Its fingerprint, which the registry's log says at each start:\n\
         {}\n\nCompare it with:\n    {fetch} | openssl x509 -noout -fingerprint -sha256\n",
        authority.fingerprint
    );
    for (client, line) in lines {
        text.push_str(&format!("\n# {client}\n{line}\n"));
    }
    text.push_str("\nPrograms that have read the system's store at their start, such as dockerd, read it again at the next.\n");
    text
}
