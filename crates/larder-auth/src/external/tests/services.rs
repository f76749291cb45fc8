//! Larder's tokens for other registries, which check them as Larder checks another server's.

use super::*;

#[tokio::test]
async fn another_registry_takes_the_tokens_that_are_made_for_it_and_no_others() {
    let signer = Signer::new("ES256");
    let pem = format!("{}{}", signer.pair.serialize_pem(), signer.certificate.pem());
    let clock = HandClock::at_noon();
    let home = crate::testing::Home::with_users(crate::testing::USERS);
    let ours = AuthMode::Token {
        service: "auth.lab".into(),
        passwords: home.passwords(&clock),
        key: [7; 32].into(),
        mode: crate::policy::Mode::AnonymousPull,
    };
    let key = crate::service_key::ServiceKey::parse(pem.as_bytes()).unwrap();
    let gate = Gate::new(ours, clock.clock()).with_other_services(vec!["registry.lab".into()], key);
    let other = Trusting::certificate_of(&signer);
    let ask = async |service: Option<&str>| {
        let login = crate::token_endpoint::Login::Password { user: "bob".into(), password: "s3cret".into() };
        let request = crate::token_endpoint::TokenRequest::new(login, ["repository:team/app:pull,push"])
            .for_service(service.map(str::to_owned));
        gate.token_endpoint().unwrap().grant(&request, &at_home()).await.unwrap().token
    };
    let token = ask(Some("registry.lab")).await;
    let claims = other.tokens.verify(&token).unwrap();
    assert_eq!(claims.actor, Actor::User("bob".into()));
    assert!(claims.cover(Action::Push, &Resource::Repository("team/app".parse().unwrap())));
    assert!(!claims.cover(Action::Delete, &Resource::Repository("team/app".parse().unwrap())));
    let here = async |token: &BearerToken| {
        gate.identify(Some(&format!("Bearer {}", token.expose())), &at_home()).await
    };
    assert!(here(&token).await.is_err(), "it is not for this registry");
    for service in [None, Some("auth.lab"), Some("stranger.lab")] {
        let token = ask(service).await;
        assert!(here(&token).await.is_ok(), "{service:?}");
        assert!(other.tokens.verify(&token).is_err(), "{service:?}");
    }
    for pem in ["", &signer.certificate.pem(), &signer.pair.serialize_pem()] {
        assert!(crate::service_key::ServiceKey::parse(pem.as_bytes()).is_err());
    }
}
