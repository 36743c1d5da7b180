//! The API's page in a real browser: headless Chromium, driven by `chromedriver`.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::sleep;

use crate::harness::{Site, TOKEN, required, send};

#[tokio::test(flavor = "multi_thread")]
async fn without_public_docs_the_page_is_not_there_and_the_description_asks_for_a_token() {
    let site = Site::sqlite();
    let server = site.server("30s");
    let ask = async |path: &str, token: &str| {
        send(&server.address, format!("GET {path} HTTP/1.1\r\nhost: x\r\n{token}\r\n")).await.status
    };
    let token = format!("authorization: Bearer {TOKEN}\r\n");
    for path in ["/docs", "/docs/", "/docs/swagger-ui.css"] {
        assert_eq!((ask(path, "").await, ask(path, &token).await), (401, 404), "{path}");
    }
    assert_eq!((ask("/openapi.json", "").await, ask("/openapi.json", &token).await), (401, 200));
}

#[tokio::test(flavor = "multi_thread")]
async fn public_docs_open_the_page_and_the_description_and_nothing_else() {
    let site = Site::sqlite();
    let server = site.server_with("30s", &["--public-docs"]);
    for (path, status, content_type) in [
        ("/openapi.json", 200, "application/json"),
        ("/docs/", 200, "text/html"),
        ("/docs/swagger-ui.css", 200, "text/css"),
        ("/docs/swagger-ui-bundle.js", 200, "text/javascript"),
        ("/docs/nothing", 404, "application/json"),
        ("/docs/../openapi.json", 404, "application/json"),
        ("/docsx", 401, "application/json"),
        ("/openapi.jsonx", 401, "application/json"),
        ("/apps/api/v1/chats/42", 401, "application/json"),
    ] {
        let reply = send(&server.address, format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n")).await;
        assert_eq!((reply.status, reply.header("content-type")), (status, Some(content_type)), "{path}");
        if path.starts_with("/docs/") && status == 200 {
            assert!(reply.header("content-security-policy").unwrap().starts_with("default-src 'none'; "), "{path}");
        }
    }
    let reply = send(&server.address, "GET /docs HTTP/1.1\r\nhost: x\r\n\r\n").await;
    assert_eq!((reply.status, reply.header("location")), (308, Some("docs/")));
    let reply = send(&server.address, "POST /docs/ HTTP/1.1\r\nhost: x\r\n\r\n").await;
    assert_eq!((reply.status, reply.header("allow")), (405, Some("GET,HEAD")));
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_no_one_reads_take_no_memory_of_their_own() {
    let site = Site::sqlite();
    let server = site.server_with("30s", &["--public-docs"]);
    let request = b"GET /docs/swagger-ui-bundle.js HTTP/1.1\r\nhost: x\r\n\r\n";
    let mut unread = Vec::new();
    let before = server.resident();
    for _ in 0..100 {
        let mut stream = TcpStream::connect(&server.address).await.unwrap();
        stream.write_all(request).await.unwrap();
        assert!(stream.read(&mut [0; 1]).await.unwrap() > 0, "its answer has begun");
        unread.push(stream);
    }
    let grown = server.resident().saturating_sub(before);
    assert!(grown < 100 * 200, "{} connections took {grown} KiB", unread.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newcomer_sends_the_published_sample_from_the_page() {
    let Some(browser) = Browser::start().await else { return };
    let site = Site::sqlite();
    let server = site.server_with("30s", &["--public-docs"]);
    let id = server.client().start_chat().await;

    browser.open(&format!("http://{}/docs", server.address)).await;
    browser.click(".btn.authorize").await;
    browser.enter(".modal-ux input[type=text]", TOKEN).await;
    browser.click(".modal-ux .btn.authorize").await;
    browser.click(".modal-ux .btn-done").await;
    let link = "[id$='-end_user']";
    browser.click(&format!("{link} .opblock-summary-control")).await;
    browser.enter(&format!("{link} select"), "chats").await;
    browser.enter(&format!("{link} input[placeholder=session_id]"), &id).await;
    let sample = browser.property(&format!("{link} textarea"), "value").await;
    let sample: Value = serde_json::from_str(&sample).unwrap();
    let published = json!({
        "identifier": "unique_external_id", "name": "John Doe", "email": "johndoe@example.com", "phone": "123-456-7890"
    });
    assert_eq!(sample, published, "the page offers the published sample");
    browser.click(&format!("{link} .btn.execute")).await;
    let answer = browser.property(&format!("{link} .live-responses-table tr.response"), "innerText").await;
    assert!(answer.contains("202") && answer.contains(r#""message": "accepted""#), "{answer}");
    assert_eq!(server.client().chat(&id).await["end_user"], published);

    let elsewhere = browser
        .run("return performance.getEntries().map(entry => entry.name).filter(name => name.includes('://'))")
        .await;
    let fetched: Vec<_> = elsewhere.as_array().unwrap().iter().map(|url| url.as_str().unwrap()).collect();
    assert!(fetched.len() > 3 && fetched.iter().all(|url| url.contains(&server.address)), "{fetched:?}");
    let console = browser.console().await;
    assert!(!console.contains("Content Security Policy") && !console.contains("SEVERE"), "{console}");
    if let Some(path) = std::env::var_os("MIDSESSION_SCREENSHOT") {
        browser.run("document.querySelector('.live-responses-table').scrollIntoView(false)").await;
        std::fs::write(path, browser.screenshot().await).unwrap();
    }
}

/// Chromium, by its driver's HTTP API. Ended when dropped.
struct Browser {
    http: reqwest::Client,
    session: String,
    driver: Child,
    _profile: TempDir,
}

impl Browser {
    /// None where there is none.
    async fn start() -> Option<Self> {
        let spawned = Command::new("chromedriver").arg("--port=0").stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
        let Ok(mut driver) = spawned else {
            assert!(!required(), "no chromedriver on PATH (Debian: chromium and chromium-driver)");
            return None;
        };
        let mut lines = BufReader::new(driver.stdout.take().unwrap()).lines();
        let started = lines.find_map(|line| Some(line.unwrap().split_once("successfully on port ")?.1.to_owned()));
        let port = started.expect("chromedriver says its port").trim_end_matches('.').to_owned();
        let profile = TempDir::new().unwrap();
        let profile_flag = format!("--user-data-dir={}", profile.path().display());
        let flags = [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-dev-shm-usage",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--window-size=1000,1340",
            &profile_flag,
        ];
        let capabilities = json!({ "capabilities": { "alwaysMatch": {
            "browserName": "chrome",
            "goog:chromeOptions": { "args": flags },
            "goog:loggingPrefs": { "browser": "ALL" },
        } } });
        let mut browser = Self {
            http: reqwest::Client::new(),
            session: format!("http://127.0.0.1:{port}/session"),
            driver,
            _profile: profile,
        };
        let session = browser.post("", capabilities).await;
        let id = session["sessionId"].as_str().unwrap_or_else(|| panic!("{session}"));
        browser.session = format!("{}/{id}", browser.session);
        Some(browser)
    }

    async fn post(&self, command: &str, body: Value) -> Value {
        let request = self.http.post(format!("{}{command}", self.session)).json(&body);
        let answer: Value = request.send().await.unwrap().json().await.unwrap();
        answer["value"].clone()
    }

    async fn get(&self, command: &str) -> Value {
        let answer: Value =
            self.http.get(format!("{}{command}", self.session)).send().await.unwrap().json().await.unwrap();
        answer["value"].clone()
    }

    async fn open(&self, url: &str) {
        assert_eq!(self.post("/url", json!({ "url": url })).await, Value::Null);
    }

    async fn run(&self, script: &str) -> Value {
        self.post("/execute/sync", json!({ "script": script, "args": [] })).await
    }

    async fn click(&self, selector: &str) {
        self.try_until(selector, "/click", json!({})).await;
    }

    async fn enter(&self, selector: &str, text: &str) {
        self.try_until(selector, "/value", json!({ "text": text })).await;
    }

    /// Until there is such an element, and it can be acted on.
    async fn try_until(&self, selector: &str, action: &str, body: Value) {
        let started = Instant::now();
        loop {
            let found = self.post("/element", json!({ "using": "css selector", "value": selector })).await;
            let element = found.as_object().and_then(|found| found.values().next()).and_then(Value::as_str);
            let mut outcome = found.clone();
            if found.get("error").is_none() {
                outcome = self.post(&format!("/element/{}{action}", element.unwrap()), body.clone()).await;
                if outcome.is_null() {
                    return;
                }
            }
            assert!(started.elapsed() < Duration::from_mins(1), "{selector}: {outcome}");
            sleep(Duration::from_millis(100)).await;
        }
    }

    /// Of the element, once it is there and this is not empty.
    async fn property(&self, selector: &str, property: &str) -> String {
        let started = Instant::now();
        loop {
            let script = format!("return document.querySelector(\"{selector}\")?.{property} ?? ''");
            let value = self.run(&script).await;
            match value.as_str() {
                Some(text) if !text.is_empty() => return text.to_owned(),
                _ => assert!(started.elapsed() < Duration::from_mins(1), "{selector}: {value}"),
            }
            sleep(Duration::from_millis(100)).await;
        }
    }

    async fn console(&self) -> String {
        self.post("/se/log", json!({ "type": "browser" })).await.to_string()
    }

    /// A PNG.
    async fn screenshot(&self) -> Vec<u8> {
        let base64 = self.get("/screenshot").await;
        let folder = TempDir::new().unwrap();
        std::fs::write(folder.path().join("base64"), base64.as_str().unwrap()).unwrap();
        Command::new("base64").arg("-d").arg(folder.path().join("base64")).output().unwrap().stdout
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // The browser ends with its session, and not with its driver.
        if let Some((address, path)) = self.session.trim_start_matches("http://").split_once('/')
            && let Ok(mut stream) = std::net::TcpStream::connect(address)
        {
            let _ = stream.write_all(
                format!("DELETE /{path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n").as_bytes(),
            );
            // Its answer comes when the browser has ended.
            let _ = stream.set_read_timeout(Some(Duration::from_secs(10)));
            let _ = stream.read_to_end(&mut Vec::new());
        }
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}
