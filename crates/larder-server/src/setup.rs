//! `/setup`: what each client has to be told of this registry, filled in for the address that it was reached by.

use http::header::{ACCEPT, VARY};
use http::{Response, StatusCode};

use crate::body::Body;
use crate::request::Call;
use crate::respond::{self, header};

/// What the page is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reached {
    /// `https://registry.lan:5000`
    pub url: String,
    /// The upstream whose images have no name in front.
    pub root: Option<String>,
    /// What the upstreams' images' names begin with here.
    pub prefixes: Vec<String>,
    /// The authority that signs this registry's certificate, if it is its own.
    pub authority: Option<OwnAuthority>,
}

/// An authority of this registry alone, whose certificate `/setup/ca.crt` gives to everybody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnAuthority {
    /// The certificate, PEM.
    pub certificate: String,
    /// Its SHA-256, as `openssl x509 -fingerprint` shows it.
    pub fingerprint: String,
}

/// Makes the page's text: sections that begin with a line `== title`.
pub type SetupPage = fn(&Reached) -> String;

impl Call {
    /// Text for curl, HTML for browsers: who says that he takes it.
    pub(crate) fn setup(&self) -> Response<Body> {
        let Some(page) = self.options.setup else {
            return not_found("404 page not found\n");
        };
        let rootless = self.options.doors.iter().find(|door| door.prefix.is_none());
        let prefixes = self.options.doors.iter().filter_map(|door| door.prefix.as_ref());
        let reached = Reached {
            url: self.base_url(),
            root: rootless.and_then(|door| door.namespaces.first().cloned()),
            prefixes: prefixes.map(|prefix| prefix.as_str().to_owned()).collect(),
            authority: self.app.observers.authority.clone(),
        };
        let text = page(&reached);
        let accept = self.parts.headers.get(ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let mut response = if accept.contains("text/html") {
            respond::with_body(StatusCode::OK, "text/html; charset=utf-8", html(&text))
        } else {
            respond::with_body(StatusCode::OK, "text/plain; charset=utf-8", text)
        };
        response.headers_mut().insert(VARY, header("Accept"));
        // Nothing of the page is run, whatever a Host header smuggles into it.
        let policy = header("default-src 'none'; style-src 'unsafe-inline'");
        response.headers_mut().insert("content-security-policy", policy);
        response
    }

    /// The certificate of the registry's own authority.
    pub(crate) fn setup_authority(&self) -> Response<Body> {
        match &self.app.observers.authority {
            Some(authority) => respond::with_body(
                StatusCode::OK,
                "application/x-x509-ca-cert",
                authority.certificate.clone(),
            ),
            None => not_found(
                "This registry has no authority of its own (http.tls.auto): who signs its certificate, its operator knows.\n",
            ),
        }
    }
}

fn not_found(words: &'static str) -> Response<Body> {
    respond::with_body(StatusCode::NOT_FOUND, "text/plain; charset=utf-8", words)
}

const HEAD: &str = "<!doctype html>
<html lang=\"en\">
<meta charset=\"utf-8\">
<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">
<title>Larder: set a client up</title>
<style>
:root{color-scheme:light dark}
body{font:16px/1.5 system-ui,sans-serif;max-width:60em;margin:2em auto;padding:0 1em}
h1{font-size:1.5em}
h2{font-size:1.2em;margin-top:2em}
nav a{display:inline-block;margin-right:1em}
pre{font:14px/1.45 ui-monospace,monospace;background:#8882;padding:1em;border-radius:.4em;overflow:auto}
pre.wrapped{white-space:pre-wrap;overflow-wrap:anywhere}
</style>
";

/// The text as a page: links to its sections, and each section below its title. Lines of files aren't wrapped, so that what is
/// copied is what belongs into them.
fn html(text: &str) -> String {
    let mut sections = text.split("\n== ");
    let introduction = sections.next().unwrap_or_default();
    let sections: Vec<(&str, &str)> =
        sections.map(|section| section.split_once('\n').unwrap_or((section, ""))).collect();
    let mut page = format!(
        "{HEAD}<h1>Set a client up</h1>\n<pre class=\"wrapped\">{}</pre>\n<nav>\n",
        escaped(introduction.trim_end())
    );
    for (number, (title, _)) in sections.iter().enumerate() {
        page.push_str(&format!("<a href=\"#s{number}\">{}</a>\n", escaped(title)));
    }
    page.push_str("</nav>\n");
    for (number, (title, content)) in sections.iter().enumerate() {
        let (title, content) = (escaped(title), escaped(content.trim_end()));
        page.push_str(&format!("<h2 id=\"s{number}\">{title}</h2>\n<pre>{content}</pre>\n"));
    }
    page
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_the_text_becomes_markup() {
        let page = html("a <b> & \"c\"\n== docker <i>\n{}\n");
        assert!(page.contains(">a &lt;b&gt; &amp; &quot;c&quot;</pre>"), "{page}");
        assert!(page.contains("<a href=\"#s0\">docker &lt;i&gt;</a>"), "{page}");
        assert!(page.contains("<h2 id=\"s0\">docker &lt;i&gt;</h2>\n<pre>{}</pre>"), "{page}");
    }
}
