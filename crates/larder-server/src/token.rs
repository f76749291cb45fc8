//! The token endpoint: `GET` and `POST /auth/token` (distribution's token specification; OAuth 2 form).

use std::time::Duration;

use http::header::{AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE};
use http::{Method, StatusCode};
use larder_auth::{Login, Password, TokenRequest};
use larder_oci::ErrorCode;
use serde_json::json;

use crate::doors::Door;
use crate::error::ApiError;
use crate::received::Received;
use crate::request::{Answer, Call, Failure};
use crate::respond::{self, header};
use crate::uploads::{in_time, next_piece};

/// The longest form that is read: a password of 4 KiB and scopes of some hundred repositories.
const LONGEST_FORM: usize = 64 << 10;

/// How long a form may be on its way. docker itself gives up on a token after 15 s.
const LONGEST_FORM_TRANSFER: Duration = Duration::from_secs(30);

impl Call {
    pub(crate) async fn token(&self, body: Received) -> Answer {
        let Some(endpoint) = self.app.gate.token_endpoint() else {
            let detail = "this registry gives out no tokens; it takes user and password with each request";
            return Err(ApiError::new(StatusCode::NOT_FOUND, ErrorCode::Unsupported, detail).into());
        };
        let request = if self.parts.method == Method::POST {
            self.token_request_of_form(body).await?
        } else {
            let authorization =
                self.parts.headers.get(AUTHORIZATION).map(|value| value.to_str().unwrap_or("?"));
            let scopes = self.parameters("scope").into_iter().map(|scope| self.scopes_here(&scope));
            let scopes: Vec<String> = scopes.collect();
            TokenRequest::new(Login::from_authorization(authorization), scopes.iter().map(String::as_str))
                .for_service(self.parameter("service"))
                .offline(self.parameter("offline_token").as_deref() == Some("true"))
        };
        let grant = endpoint.grant(&request, &self.origin()).await?;
        self.note_grant(&grant, request.scopes());
        let mut answer = json!({
            "token": grant.token.expose(),
            "access_token": grant.token.expose(),
            "expires_in": grant.expires_in_seconds,
            "issued_at": grant.issued_at,
            "scope": grant.granted.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "),
        });
        if let (Some(token), Some(fields)) = (&grant.refresh_token, answer.as_object_mut()) {
            fields.insert("refresh_token".to_owned(), token.expose().into());
        }
        let mut response = respond::json(StatusCode::OK, &answer);
        response.headers_mut().insert(CACHE_CONTROL, header("no-store"));
        Ok(response)
    }

    async fn token_request_of_form(&self, mut body: Received) -> Result<TokenRequest, Failure> {
        let refused = |detail: String| Failure::from(ApiError::bad_request(ErrorCode::Unsupported, detail));
        let kind =
            self.parts.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        if !kind.starts_with("application/x-www-form-urlencoded") {
            return Err(refused("POST takes a form; send application/x-www-form-urlencoded".to_owned()));
        }
        let read = async {
            let mut form = Vec::new();
            while let Some(piece) = next_piece(&mut body, self.options.limits.silence).await? {
                if form.len() + piece.len() > LONGEST_FORM {
                    return Err(refused(format!(
                        "the form has more than {LONGEST_FORM} bytes; ask for fewer scopes at once"
                    )));
                }
                form.extend_from_slice(&piece);
            }
            Ok(form)
        };
        let form = in_time(LONGEST_FORM_TRANSFER, read).await?;
        let field = |name: &str| {
            form_urlencoded::parse(&form).find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
        };
        let login = match field("grant_type").as_deref() {
            Some("password") => Login::Password {
                user: field("username").unwrap_or_default(),
                password: Password::from(field("password").unwrap_or_default().as_str()),
            },
            Some("refresh_token") => Login::Refresh(field("refresh_token").unwrap_or_default().into()),
            _ => Login::Unusable,
        };
        let scopes = field("scope").map(|scopes| self.scopes_here(&scopes));
        let is_offline = field("access_type").as_deref() == Some("offline");
        Ok(TokenRequest::new(login, scopes.as_deref()).for_service(field("service")).offline(is_offline))
    }

    /// Scopes between blanks, in the names that hold here.
    fn scopes_here(&self, scopes: &str) -> String {
        let here = scopes.split(' ').map(|scope| Door::scope(&self.options.doors, &self.knock(), scope));
        here.collect::<Vec<_>>().join(" ")
    }
}
