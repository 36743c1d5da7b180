//! No name, e-mail, phone or identifier appears in `Debug`, `Display` or an error: whole scenarios with unmistakable
//! personal data, everything printed, and everything printed searched.

use core::fmt::{Debug, Display};

use midsession::{
    Answer, AnySession, CommType, CrmSupport, DuplicatePolicy, DuplicateScope, EndUser, Endpoint, LinkRequest, Param,
    Session, apply_link,
};
use serde::de::DeserializeOwned;
use validator::Validate;

use crate::support::{INTERVAL, NOW, POLICY};

const IDENTIFIER: &str = "ident-zq7";
const NAME: &str = "Zaphod Quux";
const EMAIL: &str = "zaphod@quux.example";
const PHONE: &str = "555-0199-zq";

/// All that was printed.
#[derive(Default)]
struct Printed(Vec<String>);

impl Printed {
    fn debug(&mut self, value: &impl Debug) {
        self.0.push(format!("{value:?}"));
        self.0.push(format!("{value:#?}"));
    }

    fn both(&mut self, value: &(impl Debug + Display)) {
        self.debug(value);
        self.0.push(value.to_string());
    }

    fn read<T: DeserializeOwned + Debug>(&mut self, text: &str) {
        match serde_json::from_str::<T>(text) {
            Ok(value) => self.debug(&value),
            Err(error) => self.both(&error),
        }
    }

    #[track_caller]
    fn assert_clean(&self, at_least: usize) {
        assert!(self.0.len() >= at_least, "only {} were printed", self.0.len());
        for printed in &self.0 {
            for secret in [IDENTIFIER, NAME, EMAIL, PHONE, "zq", "aphod", "uux", "555"] {
                assert!(!printed.to_lowercase().contains(&secret.to_lowercase()), "{secret} in {printed}");
            }
        }
    }
}

fn zaphod() -> EndUser {
    EndUser::new(IDENTIFIER).unwrap().with_name(NAME).unwrap().with_email(EMAIL).unwrap().with_phone(PHONE).unwrap()
}

fn bodies() -> Vec<String> {
    let whole = format!(r#"{{"identifier":"{IDENTIFIER}","name":"{NAME}","email":"{EMAIL}","phone":"{PHONE}"}}"#);
    let mut bodies = vec![whole.clone(), format!("[\"{NAME}\"]"), format!("\"{NAME}\""), format!("{{\"{NAME}\":1}}")];
    for secret in [IDENTIFIER, NAME, EMAIL, PHONE] {
        for field in ["comm_type", "identifier", "name", "email", "phone"] {
            bodies.push(format!(r#"{{"{field}":"{secret}"}}"#));
            bodies.push(format!(r#"{{"{field}":["{secret}"]}}"#));
            bodies.push(format!(r#"{{"{field}":"{secret}\u0000"}}"#));
            bodies.push(format!(r#"{{"{field}":"{secret}","{field}":"{secret}"}}"#));
            bodies.push(format!(r#"{{"{field}":"{secret}"#));
            bodies.push(format!(r#"{{"identifier":"{IDENTIFIER}","{field}x":"{secret}"}} {secret}"#));
        }
    }
    bodies.push(whole.replace(NAME, &NAME.repeat(99)));
    bodies
}

#[test]
fn requests_and_their_answers_print_none_of_it() {
    let mut printed = Printed::default();
    let known = Session::start(CommType::Chat).with_end_user(zaphod());
    let linked = known.link(&zaphod(), &POLICY, NOW).unwrap().into_session();
    let no_crm = known.clone().with_crm_support(CrmSupport::Unsupported);
    let sessions = [known.clone().into(), linked.clone().into(), no_crm.into(), AnySession::from(known).end(NOW)];
    for body in bodies() {
        let request = match serde_json::from_str::<LinkRequest>(&body) {
            Ok(request) => request,
            Err(error) => {
                printed.both(&error);
                continue;
            }
        };
        printed.debug(&request);
        for request in [request.clone(), request.with_comm_type(CommType::Chat)] {
            printed.debug(&request);
            if let Err(errors) = request.validate() {
                printed.both(&errors);
                printed.0.push(serde_json::to_string(&errors).unwrap());
            }
            for session in &sessions {
                for now in [NOW, NOW + INTERVAL] {
                    let decision = apply_link(Some(session), &request, &POLICY, now);
                    printed.debug(&decision);
                    printed.debug(&Answer::from(&decision));
                    if let Err(error) = &decision {
                        printed.both(error);
                        printed.debug(&error.kind());
                    }
                }
            }
        }
    }
    printed.assert_clean(2_000);
}

#[test]
fn a_sessions_whole_life_prints_none_of_it() {
    let mut printed = Printed::default();
    let end_user = zaphod();
    printed.debug(&end_user);
    let accepted = Session::start(CommType::Call).link(&end_user, &POLICY, NOW).unwrap();
    printed.debug(&accepted);
    let session = accepted.into_session();
    printed.debug(&session);
    printed.debug(&AnySession::from(session.clone()));
    let ended = session.end(NOW);
    printed.debug(&ended);
    printed.debug(&AnySession::from(ended));
    printed.debug(&[Param::from(NAME), Param::from(PHONE)]);
    printed.assert_clean(14);
}

#[test]
fn refused_end_users_print_none_of_it() {
    let mut printed = Printed::default();
    for secret in [IDENTIFIER, NAME, EMAIL, PHONE] {
        let bad = format!("{secret}\0");
        for refused in
            [EndUser::new(&bad), zaphod().with_name(&bad), zaphod().with_email(&bad), zaphod().with_phone(&bad)]
        {
            printed.both(&refused.unwrap_err());
        }
        printed.both(&secret.parse::<CommType>().unwrap_err());
        printed.both(&secret.parse::<CrmSupport>().unwrap_err());
        printed.both(&secret.parse::<DuplicateScope>().unwrap_err());
    }
    printed.assert_clean(64);
}

#[test]
fn stored_records_with_the_persons_data_in_any_place_print_none_of_it() {
    let mut printed = Printed::default();
    let linked = Session::start(CommType::Chat).link(&zaphod(), &POLICY, NOW).unwrap().into_session();
    let stored = serde_json::to_value(AnySession::from(linked)).unwrap();
    printed.read::<AnySession>(&stored.to_string());
    for secret in [IDENTIFIER, NAME, EMAIL, PHONE] {
        for wrong in
            [secret.into(), serde_json::json!([secret]), serde_json::json!({secret: secret}), serde_json::json!(5550)]
        {
            let fields = ["state", "comm_type", "crm_support", "end_user", "last_linked_at", "ended_at", "revision"];
            // A number is the revision's to hold and to show.
            for field in fields.into_iter().filter(|field| *field != "revision" || !wrong.is_number()) {
                let mut forged = stored.clone();
                forged[field] = wrong.clone();
                printed.read::<AnySession>(&forged.to_string());
            }
            for field in ["identifier", "name", "email", "phone"] {
                let mut forged = stored.clone();
                forged["end_user"][field] = wrong.clone();
                printed.read::<AnySession>(&forged.to_string());
                printed.read::<EndUser>(&forged["end_user"].to_string());
            }
            for field in ["interval", "scope"] {
                let mut policy = serde_json::json!({"interval": "30s", "scope": "session"});
                policy[field] = wrong.clone();
                printed.read::<DuplicatePolicy>(&policy.to_string());
            }
            let whole = wrong.to_string();
            printed.read::<AnySession>(&whole);
            printed.read::<EndUser>(&whole);
            printed.read::<DuplicatePolicy>(&whole);
            printed.read::<DuplicateScope>(&whole);
            printed.read::<CommType>(&whole);
            printed.read::<CrmSupport>(&whole);
        }
    }
    for number in ["5550", "-5550", "555.5", "5550000000000000000000", "[5550]"] {
        printed.read::<AnySession>(number);
        printed.read::<EndUser>(number);
        printed.read::<CommType>(number);
        printed.read::<DuplicatePolicy>(number);
        printed.read::<AnySession>(&format!("{{\"revision\":{number}}}"));
        printed.read::<EndUser>(&format!("{{\"identifier\":{number}}}"));
    }
    printed.assert_clean(500);
}

#[test]
fn a_path_with_the_persons_data_in_the_comm_types_place_prints_none_of_it() {
    let mut printed = Printed::default();
    for secret in [IDENTIFIER, NAME, EMAIL, PHONE] {
        let path = format!("/apps/api/v1/{secret}/42/end_user");
        printed.debug(&Endpoint::parse(&path).unwrap());
        printed.debug(&Endpoint::parse(&path).unwrap().comm_type());
    }
    printed.assert_clean(16);
    assert!(format!("{:?}", Endpoint::new(CommType::Call, "42")).contains("calls"));
}

#[test]
fn debug_still_says_which_fields_there_are() {
    let end_user = EndUser::new(IDENTIFIER).unwrap().with_name(NAME).unwrap();
    let expected = "EndUser { identifier: <redacted>, name: Some(<redacted>), email: None, phone: None }";
    assert_eq!(format!("{end_user:?}"), expected);
    let request = LinkRequest { name: NAME.into(), phone: Param::NotText, ..LinkRequest::default() };
    let expected =
        "LinkRequest { comm_type: Blank, identifier: Blank, name: Text(<redacted>), email: Blank, phone: NotText }";
    assert_eq!(format!("{request:?}"), expected);
}
