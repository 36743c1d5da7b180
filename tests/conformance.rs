//! The conformance kit passes an honest transport, finds every classic slip, and says what differed.

mod transport;

use std::collections::{BTreeMap, BTreeSet};

use midsession::testing::conformance::{Case, JSON, Kind, Mismatch, Need, Reply, cases};
use midsession::{Answer, AnySession, Endpoint, LinkRequest, apply_link};
use serde_json::{Value, json};
use strum::VariantArray;

use transport::{Slip, exchanges};

#[test]
fn an_honest_transport_passes() {
    for case in cases().unwrap() {
        verdict(&case, None).unwrap_or_else(|error| panic!("{error}"));
    }
}

/// Of the first request of the case that fails.
fn verdict(case: &Case, slip: Option<Slip>) -> Result<(), Mismatch> {
    exchanges(case, slip).into_iter().try_for_each(|(request, reply, stored)| {
        request.judge(&reply)?;
        request.judge_stored(stored.get(request.session_id()))?;
        request.judge_store(&reply, &stored)
    })
}

#[test]
fn an_honest_transport_without_http_passes() {
    let mut judged = 0;
    for case in cases().unwrap() {
        let Some((session_id, request)) = case.request() else {
            assert_ne!(case.kind, Kind::Contract, "{}", case.name);
            continue;
        };
        if case.needs.contains(&Need::Meanwhile) {
            continue;
        }
        let stored = case.session.as_ref().filter(|_| session_id == case.session_id());
        let answer = Answer::from(&apply_link(stored, &request, &case.policy, case.now));
        case.judge(&answer.into()).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(answer.retry_after, case.expected.retry_after, "{}", case.name);
        judged += 1;
    }
    assert!(judged > 300, "{judged}");
}

#[test]
fn what_is_not_a_case_of_the_contract_has_no_request() {
    // Some of them would make one: the answer is the transport's all the same.
    let mut would_make_one = 0;
    for case in cases().unwrap().iter().filter(|case| case.kind != Kind::Contract) {
        assert!(case.request().is_none(), "{}", case.name);
        let is_request =
            Endpoint::parse(&case.path).is_some() && serde_json::from_slice::<LinkRequest>(&case.body).is_ok();
        would_make_one += u32::from(is_request);
    }
    assert!(would_make_one > 0);
}

/// The other server comes between once, in the first request, and so do writes that are lost.
#[test]
fn what_another_server_does_is_done_in_the_first_request_of_a_row() {
    let mut rows = 0;
    for mut case in cases().unwrap() {
        case.meanwhile = case.meanwhile.or_else(|| case.session.clone());
        (case.deleted_meanwhile, case.refused_writes) = (true, 3);
        let row = case.in_a_row();
        assert_eq!(row[0].name, case.name);
        for next in &row[1..] {
            let is_disturbed = next.meanwhile.is_some() || next.deleted_meanwhile || next.refused_writes > 0;
            assert!(!is_disturbed && next.in_a_row().len() == 1, "{}", next.name);
        }
        rows += usize::from(row.len() > 1 && case.meanwhile.is_some());
    }
    assert!(rows > 20, "{rows}");
}

/// What a transport may refuse or not changes nothing only if it did refuse.
#[test]
fn a_row_goes_on_unless_its_request_might_have_been_refused_and_was_not() {
    let reply = |status, body: &str| Reply { status, body: body.into(), retry_after_secs: None };
    for case in cases().unwrap().iter().flat_map(Case::in_a_row) {
        let contracts = case.expected.status.map(|status| reply(status, case.expected.body.as_ref().unwrap()));
        let own = case.expected.own.iter().map(|status| reply(status.replace("xx", "00").parse().unwrap(), "its own"));
        let is_either = case.kind == Kind::Either;
        assert!(own.clone().count() > 0 || !is_either, "{}", case.name);
        for refused in own {
            assert!(case.goes_on_after(&refused), "{}: {refused:?}", case.name);
        }
        if let Some(answered) = contracts {
            assert_eq!(case.goes_on_after(&answered), !is_either, "{}: {answered:?}", case.name);
        }
        assert_eq!(case.goes_on_after(&reply(599, "")), !is_either, "{}", case.name);
    }
}

/// Both ways: what is not marked passes without, and what is marked needs it.
#[test]
fn cases_are_marked_with_what_they_need() {
    let slips = [
        (Need::Nanoseconds, Slip::TimesCutToMilliseconds),
        (Need::Nanoseconds, Slip::TimesCutToMicroseconds),
        (Need::EmptySegments, Slip::SlashesFolded),
        (Need::DotSegments, Slip::DotSegmentsResolved),
        (Need::TrailingSlash, Slip::TrailingSlashTaken),
        (Need::DecodedPath, Slip::PathPercentDecoded),
        (Need::DuplicateKeys, Slip::LastOfTwoFieldsTaken),
        (Need::BigRevisions, Slip::RevisionsAreFloats),
    ];
    for (need, slip) in slips {
        for case in cases().unwrap() {
            let verdict = verdict(&case, Some(slip));
            assert_eq!(verdict.is_err(), case.needs.contains(&need), "{slip:?} {}: {verdict:?}", case.name);
        }
    }
}

#[test]
fn cases_need_a_store_of_any_id_exactly_if_no_path_can_name_theirs() {
    for case in cases().unwrap() {
        let cannot_be_named = Endpoint::new(midsession::CommType::Chat, case.session_id()).is_none();
        assert_eq!(cannot_be_named, case.needs.contains(&Need::AnySessionId), "{}", case.name);
    }
}

#[test]
fn every_slip_is_found() {
    let (cases, mut wrong) = (cases().unwrap(), Vec::new());
    for slip in Slip::VARIANTS {
        let mut seen = Seen::default();
        for case in &cases {
            seen.add(case, *slip);
            if seen.is_enough(*slip) {
                break;
            }
        }
        if seen.by_reply.is_none() && !seen.by_store {
            wrong.push(format!("{slip:?} goes unnoticed"));
        }
        // A transport that is wrong throughout would prove nothing about the cases.
        if !seen.passes_a_case {
            wrong.push(format!("{slip:?} is no slip"));
        }
        if seen.by_reply.is_none() != slip.is_of_the_store() {
            wrong.push(format!("{slip:?} is seen in the reply to {:?}", seen.by_reply));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// What the cases have shown of a slip.
#[derive(Default)]
struct Seen {
    /// The first case to whose first request the reply was wrong: a later reply may be wrong because of what is stored.
    by_reply: Option<String>,
    by_store: bool,
    passes_a_case: bool,
}

impl Seen {
    fn add(&mut self, case: &Case, slip: Slip) {
        let mut is_wrong = false;
        for (at, (request, reply, stored)) in exchanges(case, Some(slip)).iter().enumerate() {
            let (by_reply, by_store) = (request.judge(reply).is_err(), request.judge_store(reply, stored).is_err());
            let is_first = at == 0 || slip.is_beside_the_store();
            self.by_reply = self.by_reply.take().or((by_reply && is_first).then(|| case.name.clone()));
            self.by_store |= by_store;
            is_wrong |= by_reply || by_store;
        }
        self.passes_a_case |= !is_wrong;
    }

    /// Whether no further case can change the verdict. That no reply shows a slip of the store, all cases must say.
    fn is_enough(&self, slip: Slip) -> bool {
        self.passes_a_case && self.by_reply.is_some() && !slip.is_of_the_store()
    }
}

#[test]
fn cases_cover_every_row_and_every_pair_of_rows() {
    let cases = cases().unwrap();
    let answered = |rows: &[u8]| cases.iter().any(|case| case.rows == rows);
    for row in 1..=9 {
        assert!(answered(&[row]), "row {row}");
    }
    // A comm type that is blank is not another one.
    for (row, later) in
        (1..=8).flat_map(|row| (row + 1..=8).map(move |later| (row, later))).filter(|pair| *pair != (1, 4))
    {
        assert!(answered(&[row, later]), "row {row} before row {later}");
    }
    for endpoint in ["/calls/", "/chats/"] {
        let of_comm_type = cases.iter().filter(|case| case.path.contains(endpoint));
        let rows: BTreeSet<u8> = of_comm_type.filter_map(|case| case.rows.first().copied()).collect();
        assert!(rows.is_superset(&BTreeSet::from([2, 5, 6, 7, 8, 9])), "{endpoint}: {rows:?}");
    }
}

#[test]
fn cases_cover_every_identifier_recorded_from_rails() {
    let cases = cases().unwrap();
    for (value, message) in crate::rails_require::recorded() {
        let body: Value = serde_json::from_str(&format!("{{\"identifier\":{value}}}")).unwrap();
        let mut answers = cases.iter().filter(|case| {
            case.rows.len() == 1
                && case.query.is_none()
                && case.kind == Kind::Contract
                && case.path.ends_with("/chats/42/end_user")
        });
        let case = answers.find(|case| serde_json::from_slice::<Value>(&case.body).is_ok_and(|it| it == body));
        let message = if message == "not text" { "param is invalid: identifier" } else { message };
        let case = case.unwrap_or_else(|| panic!("no case for {value}"));
        assert_eq!(case.expected.body, Some(format!("{{\"message\":\"{message}\"}}")), "{}", case.name);
    }
}

#[test]
fn cases_agree_with_themselves() {
    let cases = cases().unwrap();
    let names: BTreeSet<&str> = cases.iter().map(|case| case.name.as_str()).collect();
    assert_eq!(names.len(), cases.len(), "a name is given twice");
    for case in cases.iter().flat_map(Case::in_a_row) {
        assert_eq!(case.kind != Kind::Contract, !case.expected.own.is_empty(), "{}", case.name);
        match case.kind {
            Kind::Transport => assert_transports_own_agrees(&case),
            _ => assert_contracts_agrees(&case),
        }
    }
}

fn assert_transports_own_agrees(case: &Case) {
    let Case { name, rows, rule, session, expected, .. } = case;
    assert!(rows.is_empty(), "{name}");
    assert!(rule.starts_with("Transport: ") || name.contains(", step "), "{name}");
    assert_eq!((expected.status, &expected.body), (None, &None), "{name}");
    assert_eq!((expected.retry_after, expected.retry_after_secs), (None, None), "{name}");
    assert_eq!(*session, expected.session, "{name}");
    let could_be_stored = session.as_ref().is_some_and(AnySession::is_active);
    assert!(could_be_stored || case.method == "DELETE", "{name}: nothing could be stored by mistake");
}

fn assert_contracts_agrees(case: &Case) {
    let Case { name, rows, rule, session, meanwhile, expected, .. } = case;
    assert_eq!(case.method, "POST", "{name}");
    assert!(
        rule.starts_with(&format!("Row {}: ", rows[0])) || name.contains(", step ") || rule.starts_with("Transport"),
        "{name}"
    );
    assert!(rows.is_sorted_by(|row, later| row < later), "{name}");
    let status = [400, 400, 400, 404, 404, 400, 400, 400, 202][usize::from(rows[0]) - 1];
    assert_eq!(expected.status, Some(status), "{name}");
    let rounded_up = expected.retry_after.map(|wait| wait.as_nanos().div_ceil(1_000_000_000));
    assert_eq!(expected.retry_after_secs.map(u128::from), rounded_up, "{name}");
    assert_eq!(rounded_up.is_some(), rows[0] == 8, "{name}");
    let is_asked_for = Endpoint::parse(&case.path).is_some_and(|endpoint| endpoint.session_id() == case.session_id());
    assert!(is_asked_for || *rows == [5], "{name}");
    if let (Some(session), Some(meanwhile)) = (session, meanwhile) {
        assert!(session.revision() < meanwhile.revision(), "{name}: the write would not be lost");
    }
    let needs_meanwhile = meanwhile.is_some() || case.deleted_meanwhile || case.refused_writes > 0;
    assert!(needs_meanwhile == case.needs.contains(&Need::Meanwhile) || name.contains(", step "), "{name}");
    let before = meanwhile.as_ref().or(session.as_ref()).filter(|_| !case.deleted_meanwhile);
    match (before, &expected.session) {
        (Some(before), Some(after)) if rows[0] == 9 => {
            assert_eq!(after.revision(), before.revision() + 1, "{name}");
            assert_eq!(after.last_linked_at(), Some(case.now), "{name}");
        }
        (before, after) => assert_eq!(before, after.as_ref(), "{name}"),
    }
}

#[test]
fn cases_say_everything_in_full_for_readers_in_other_languages() {
    let file: BTreeMap<String, Value> = serde_json::from_str(JSON).unwrap();
    assert_eq!(file.keys().collect::<Vec<_>>(), ["cases", "contract", "format", "version"]);
    let keys = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<BTreeSet<_>>();
    let described = |part: &str, prefix: &str| -> BTreeSet<String> {
        let keys = keys(&file["format"][part]).into_iter();
        keys.filter_map(|key| key.strip_prefix(prefix).map(str::to_owned)).filter(|key| !key.contains('.')).collect()
    };
    let optional =
        ["others", "meanwhile", "deleted_meanwhile", "refused_writes", "query", "headers", "steps"].map(str::to_owned);
    let always = &described("keys_of_a_case", "") - &optional.into();
    for case in file["cases"].as_array().unwrap() {
        assert!(keys(case).is_superset(&always), "{}", case["name"]);
        assert!(keys(case).is_subset(&described("keys_of_a_case", "")), "{}", case["name"]);
        assert_eq!(keys(&case["policy"]), ["interval", "scope"].map(str::to_owned).into(), "{}", case["name"]);
        let mut of_expected = described("keys_of_a_case", "expected.");
        match case["kind"].as_str().unwrap() {
            "transport" => of_expected = ["own", "session"].map(str::to_owned).into(),
            "contract" => drop(of_expected.remove("own")),
            _ => {}
        }
        assert_eq!(keys(&case["expected"]), of_expected, "{}", case["name"]);
        for need in case["needs"].as_array().unwrap() {
            assert!(described("needs", "").contains(need.as_str().unwrap()), "{}", case["name"]);
        }
        let stored = |session: &Value| serde_json::from_value::<Option<AnySession>>(session.clone()).unwrap();
        let others = case["others"].as_object().into_iter().flat_map(|others| others.values());
        for session in [&case["session"], &case["expected"]["session"], &case["meanwhile"]].into_iter().chain(others) {
            assert_eq!(*session, json!(stored(session)), "{}: not as the crate writes it", case["name"]);
        }
    }
}

#[test]
fn no_case_is_there_twice_under_two_names() {
    let file: Value = serde_json::from_str(JSON).unwrap();
    let mut names = BTreeMap::new();
    for case in file["cases"].as_array().unwrap() {
        let mut asked = case.as_object().unwrap().clone();
        asked.retain(|key, _| !["name", "rule", "rows", "kind", "needs", "expected"].contains(&key.as_str()));
        if let Some(other) = names.insert(json!(asked).to_string(), &case["name"]) {
            panic!("{other} and {} are the same", case["name"]);
        }
    }
}

#[test]
fn each_need_says_how_many_cases_it_leaves_out() {
    let file: Value = serde_json::from_str(JSON).unwrap();
    for (need, words) in file["format"]["needs"].as_object().unwrap() {
        let has = |case: &&Value| case["needs"].as_array().unwrap().iter().any(|other| other == need);
        let left_out = file["cases"].as_array().unwrap().iter().filter(has).count();
        assert!(words.as_str().unwrap().ends_with(&format!(" It leaves out {left_out} cases.")), "{need}: {left_out}");
    }
}

#[test]
fn a_mismatch_says_what_differed_and_shows_what_cannot_be_seen() {
    let case = cases().unwrap().into_iter().find(|case| case.name == "duplicate_on_a_chat").unwrap();
    let reply =
        Reply { status: 429, body: b"{\"message\": \"\xff\"}\r\n\xe2\x90\xa3\xc2\xa0".into(), retry_after_secs: None };
    assert_eq!(
        case.judge(&reply).unwrap_err().to_string(),
        r#"case duplicate_on_a_chat fails
  the rule: Row 8: a link inside the interval is a duplicate.
  the request: POST /apps/api/v1/chats/42/end_user {"identifier":"id-1"}
  the session: {"state":"active","comm_type":"chat","crm_support":"supported","end_user":{"identifier":"id-1","name":"John␣Doe","email":"johndoe@example.com","phone":"123-456-7890"},"last_linked_at":"2026-11-22T12:00:00Z","revision":1} under `42`
  the policy: 30s, scope session
  the clock: 2026-11-22 12:00:10.0 +00:00:00
  the status: expected 400
  the status:      got 429
  the body: expected {"message":"Duplicate␣request:␣Please␣wait␣for␣the␣interval␣to␣expire"}
  the body:      got {"message":␣"\xff"}\r\n\u{2423}\u{a0}
  Retry-After: expected 20
  Retry-After:      got none"#
    );
    assert_eq!(
        case.judge_stored(None).unwrap_err().to_string().lines().last(),
        Some("  the stored session:      got null")
    );
}

/// A server that cannot show which of its answers are its own is judged by what it stores alone.
#[test]
fn what_was_stored_before_passes_where_a_transport_may_refuse_by_itself_and_nowhere_else() {
    let mut judged = BTreeMap::new();
    for case in cases().unwrap().iter().filter(|case| !case.needs.contains(&Need::Meanwhile)) {
        case.judge_stored(case.expected.session.as_ref()).unwrap();
        if case.expected.session != case.session {
            let refused = case.judge_stored(case.session.as_ref());
            assert_eq!(refused.is_ok(), case.kind == Kind::Either, "{}", case.name);
            *judged.entry(refused.is_ok()).or_insert(0) += 1;
        }
        assert!(case.judge_stored(None).is_err() || case.session.is_none(), "{}", case.name);
    }
    assert!(judged.len() == 2 && judged.values().all(|cases| *cases > 10), "{judged:?}");
}

#[test]
fn a_mismatch_says_what_the_other_server_does() {
    let cases = cases().unwrap();
    let shown = |name: &str| {
        let case = cases.iter().find(|case| case.name == name).unwrap();
        case.judge(&Reply { status: 500, body: Vec::new(), retry_after_secs: None }).unwrap_err().to_string()
    };
    let text = shown("meanwhile_ended");
    assert!(text.contains("\n  stored meanwhile: {\"state\":\"ended\","), "{text}");
    let text = shown("meanwhile_deleted");
    assert!(text.contains("\n  deleted meanwhile: yes\n"), "{text}");
    let text = shown("meanwhile_20_writes_are_lost");
    assert!(text.contains("\n  refused writes: 20\n  the status: expected 202 or 503\n"), "{text}");
    let text = shown("content_type_of_a_form");
    assert!(text.contains("\n  the headers: [(\"content-type\", \"application/x-www-form-urlencoded\")]\n"), "{text}");
}

#[test]
fn a_reply_shows_its_body_as_text() {
    let reply = Reply { status: 202, body: b"{\"a\": \xff}\n".into(), retry_after_secs: Some(1) };
    assert_eq!(format!("{reply:?}"), r#"Reply { status: 202, body: "{"a":␣\xff}\n", retry_after_secs: Some(1) }"#);
}

#[test]
fn the_store_is_judged_whole() {
    let cases = cases().unwrap();
    let case = cases.iter().find(|case| case.name == "other_sessions_beside_a_link").unwrap();
    let accepted = Reply { status: 202, body: br#"{"message":"accepted"}"#.into(), retry_after_secs: None };
    let (_, _, stored) = exchanges(case, None).pop().unwrap();
    case.judge_store(&accepted, &stored).unwrap();
    let session = case.expected.session.clone().unwrap();
    let changed = |id: &str, session: Option<AnySession>| {
        let mut stored = stored.clone();
        stored.remove(id);
        stored.extend(session.map(|session| (id.to_owned(), session)));
        case.judge_store(&accepted, &stored).map_err(|error| error.to_string())
    };
    for (id, other) in [("43", Some(session.clone())), ("43", None), ("44", Some(session)), ("42", None)] {
        let error = changed(id, other).unwrap_err();
        assert!(error.contains(if id == "42" { "the stored session" } else { "the other session `4" }), "{error}");
    }
}
