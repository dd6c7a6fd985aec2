use super::*;

use std::collections::BTreeMap;

fn flags(given: &[(&'static str, &str)]) -> BTreeMap<&'static str, Vec<String>> {
    given.iter().map(|(flag, text)| (*flag, vec![(*text).to_owned()])).collect()
}

fn environment(given: &[(&str, &str)]) -> BTreeMap<String, String> {
    given.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect()
}

fn from_file(text: &str) -> Result<Resolved, ConfigError> {
    resolve(&BTreeMap::new(), &BTreeMap::new(), Some(("relayer.toml", text)))
}

fn origin(settings: &Resolved, key: &str) -> String {
    settings.iter().find(|(setting, ..)| setting.key == key).unwrap().2.to_string()
}

#[test]
fn flags_count_before_the_environment_before_the_file_before_defaults() {
    let file = "[limits]\nconnections = 1\nconnections_per_address = 1\nhandshakes = 1\n";
    let environment = environment(&[
        ("CRDT_RELAYER_LIMITS_CONNECTIONS", "2"),
        ("CRDT_RELAYER_LIMITS_HANDSHAKES", "2/s"),
        ("HOME", "/"),
    ]);
    let flags = flags(&[("max-connections", "3")]);
    let settings = resolve(&flags, &environment, Some(("relayer.toml", file))).unwrap();
    let limits = Limits::of(&settings);
    assert_eq!(limits.connections, 3);
    assert_eq!(limits.handshakes, 2);
    assert_eq!(limits.connections_per_address, 1);
    assert_eq!(limits.handshakes_per_address, Limits::default().handshakes_per_address);
    assert_eq!(origin(&settings, "limits.connections"), "flag, --max-connections");
    let variable = "environment, CRDT_RELAYER_LIMITS_HANDSHAKES";
    assert_eq!(origin(&settings, "limits.handshakes"), variable);
    assert_eq!(origin(&settings, "limits.connections_per_address"), "relayer.toml, line 3");
    assert_eq!(origin(&settings, "limits.header_time"), "default");
}

#[test]
fn what_nobody_sets_is_what_the_limits_say() {
    let settings = resolve(&BTreeMap::new(), &BTreeMap::new(), None).unwrap();
    assert_eq!(Limits::of(&settings), Limits::default());
    let config = Config::of(&settings).unwrap();
    assert_eq!(config.listen.to_string(), "127.0.0.1:8080");
}

#[test]
fn an_unknown_key_is_an_error_that_knows_what_was_meant() {
    for (text, place, hint) in [
        ("[limits]\n\nconections = 5\n", "line 3", "did you mean limits.connections?"),
        ("[limit]\nconnections = 5\n", "line 2", "did you mean limits.connections?"),
        ("listen = \"127.0.0.1:1\"\n", "line 1", "did you mean server.listen?"),
        ("[tls]\ncolour = 1\n", "line 2", "this section has tls.cert, tls.key"),
    ] {
        let error = from_file(text).unwrap_err();
        let place = format!("relayer.toml, {place}");
        assert_eq!((error.place, error.hint.as_str()), (place, hint));
    }
    let typo = environment(&[("CRDT_RELAYER_SERVER_LISTN", "x")]);
    let error = resolve(&BTreeMap::new(), &typo, None).unwrap_err();
    assert_eq!(error.hint, "did you mean CRDT_RELAYER_SERVER_LISTEN?");
}

#[test]
fn a_value_that_cannot_be_is_refused_with_what_is_expected() {
    for (text, problem) in [
        ("[limits]\nconnections = \"many\"", "write many without the quotes"),
        ("[limits]\nconnections = -1", "is not a number"),
        ("[limits]\nheader_time = 5", "an integer is not expected here"),
        ("[limits]\nheader_time = \"soon\"", "is not a time, as 30s"),
        ("[limits]\nheader_bytes = \"big\"", "is not a number of bytes"),
        ("[server]\nlisten = \"here:80\"", "is not an IP address with a port"),
        ("[server]\norigins = [1]", "an integer where words are expected"),
        ("[cluster]\nbackplane = \"kafka\"", "is not one of none, nats"),
        ("[limits\n", "relayer.toml, line 1"),
    ] {
        let error = from_file(text).unwrap_err().to_string();
        assert!(error.contains(problem), "{text}: {error}");
    }
}

#[test]
fn a_limit_of_nothing_is_refused_and_none_is_none_where_there_may_be_none() {
    for (text, instead) in [
        ("connections = 0", "give 1 or more"),
        ("handshakes = \"0/s\"", "give 1 or more"),
        ("room_bytes = 0", "write none where there is to be no limit"),
    ] {
        let error = from_file(&format!("[limits]\n{text}\n")).unwrap_err();
        let problem = format!(": 0 is no limit that can be set; {instead}");
        assert!(error.problem.ends_with(&problem), "{text}: {error}");
        assert!(
            SETTINGS.iter().all(|setting| !error.hint.contains(setting.help)),
            "{}",
            error.hint
        );
    }
    let limits = |text: &str| Limits::of(&from_file(&format!("[limits]\n{text}\n")).unwrap());
    assert_eq!(limits("disk_floor_bytes = \"none\"").disk_floor_bytes, None);
    assert_eq!(limits("disk_floor_bytes = \"1GiB\"").disk_floor_bytes, Some(1 << 30));
    assert_eq!(limits("room_bytes = 65536").room_bytes, Some(65_536));
    assert!(from_file("[limits]\nheader_bytes = \"none\"\n").is_err(), "it must have one");
}

#[test]
fn a_limit_beyond_what_can_be_is_refused_wherever_it_stands() {
    let (rooms, subscriptions) = (Limits::default().rooms, Limits::default().subscriptions);
    for (key, bound, beyond, problem) in [
        ("rooms", rooms.to_string(), "20000", "20000 is above 10000"),
        ("subscriptions", subscriptions.to_string(), "65", "65 is above 64"),
        ("header_bytes", "8KiB".into(), "8191", "8191 is below 8.0 KiB"),
        ("idle_time", "3s".into(), "2s", "2s is below 3s"),
        ("stall_time", "1s".into(), "999ms", "999ms is below 1s"),
    ] {
        let name = format!("CRDT_RELAYER_LIMITS_{}", key.to_uppercase());
        let given = |text: &str| resolve(&BTreeMap::new(), &environment(&[(&name, text)]), None);
        assert!(given(&bound).is_ok(), "{key}");
        let error = given(beyond).unwrap_err();
        assert_eq!(error.problem, format!("limits.{key}: {problem}"));
        let quoted = if key == "rooms" || key == "subscriptions" { "" } else { "\"" };
        let error = from_file(&format!("[limits]\n{key} = {quoted}{beyond}{quoted}")).unwrap_err();
        assert_eq!(error.problem, format!("limits.{key}: {problem}"));
    }
}

#[test]
fn names_and_pages_that_no_browser_says_are_refused() {
    let of = |key: &str, word: &str| {
        Config::of(&from_file(&format!("[server]\n{key} = [{word:?}]\n")).unwrap()).map(drop)
    };
    for host in ["https://relay.example", "relay.example/", "a b", "u@relay.example", ":80"] {
        let error = of("hosts", host).unwrap_err();
        assert!(error.to_string().contains("no browser says"), "{host}: {error}");
    }
    for page in [
        "app.example",
        "https://app.example/",
        "https://app.example/page",
        "https://app.example:443",
        "http://app.example:80",
        "HTTPS://app.example",
        "https://App.example",
        "https://",
        "null",
        "*",
    ] {
        let error = of("origins", page).unwrap_err();
        assert!(error.to_string().contains("no browser says"), "{page}: {error}");
    }
    for host in ["relay.example", "relay.example:8443", "[2001:db8::1]:80"] {
        assert!(of("hosts", host).is_ok(), "{host}");
    }
    for page in ["https://app.example", "http://app.example:8080", "moz-extension://abc"] {
        assert!(of("origins", page).is_ok(), "{page}");
    }
}

#[test]
fn lists_of_keys_and_rooms_go_with_what_makes_them_count() {
    let key = "8a88e3dd7409f195fd52db2d3cba5d72ca6709bf1d94121bf3748801b40f6f5c";
    for (text, problem) in [
        ("[auth]\nmode = \"required\"".to_owned(), "auth.keys is empty"),
        (format!("[auth]\nkeys = [\"{key}\"]"), "auth.mode is not required"),
        ("[auth]\nmode = \"required\"\nkeys = [\"bob\"]".to_owned(), "no key of 64 hex digits"),
        ("[auth]\nmode = \"optional\"".to_owned(), "is not one of off, required"),
        ("[rooms]\ncreate = \"list\"".to_owned(), "rooms.list is empty"),
        ("[rooms]\nlist = [\"main\"]".to_owned(), "rooms.create is not list"),
        ("[rooms]\ncreate = \"list\"\nlist = [\"No Room\"]".to_owned(), "no name of a room"),
    ] {
        let read = from_file(&text).and_then(|settings| Config::of(&settings));
        let error = read.unwrap_err().to_string();
        assert!(error.contains(problem), "{text}: {error}");
    }
    let both = format!(
        "[auth]\nmode = \"required\"\nkeys = [\"{key}\"]\n[rooms]\ncreate = \"list\"\nlist = [\"main\"]\n"
    );
    let access = Config::of(&from_file(&both).unwrap()).unwrap().access;
    assert_eq!((access.keys.unwrap().len(), access.rooms.unwrap().len()), (1, 1));
}

#[test]
fn units_are_read_and_shown() {
    let text =
        "[limits]\nheader_bytes = \"64KiB\"\nheader_time = \"1m 30s\"\nhandshakes = \"7/s\"\n";
    let settings = from_file(text).unwrap();
    let limits = Limits::of(&settings);
    assert_eq!((limits.header_bytes, limits.handshakes), (65_536, 7));
    assert_eq!(limits.header_time.as_secs(), 90);
    let shown = |key: &str| {
        let (setting, value, _) = settings.iter().find(|(s, ..)| s.key == key).unwrap();
        setting.kind.show(value).to_string()
    };
    assert_eq!(shown("limits.header_bytes"), "64.0 KiB");
    assert_eq!(shown("limits.header_time"), "1m 30s");
    assert_eq!(shown("limits.handshakes"), "7/s");
}

#[test]
fn a_list_in_one_line_is_split_at_commas_wherever_it_stands() {
    let settings = from_file("[server]\nhosts = \"a.example, b.example\"\n").unwrap();
    let expected = ["a.example", "b.example"];
    assert_eq!(settings.list("server.hosts"), expected);
    let variable = environment(&[("CRDT_RELAYER_SERVER_HOSTS", "a.example,b.example")]);
    let settings = resolve(&BTreeMap::new(), &variable, None).unwrap();
    assert_eq!(settings.list("server.hosts"), expected);
}

#[test]
fn what_is_secret_is_not_shown() {
    let text = "[cluster]\nbackplane = \"nats\"\nnats_url = \"nats://u:hunter2@bus\"\n";
    let settings = from_file(text).unwrap();
    let shown = settings.iter().map(|(s, value, _)| s.kind.show(value).to_string());
    assert!(shown.into_iter().all(|shown| !shown.contains("hunter2")));
    assert_eq!(Config::of(&settings).unwrap().nats.unwrap().url, "nats://u:hunter2@bus");
    let peers = from_file("[cluster]\npeers = [\"wss://u:hunter2@r.example/\"]\n").unwrap();
    let shown: Vec<_> = peers.iter().map(|(s, value, _)| s.kind.show(value).to_string()).collect();
    assert!(shown.contains(&"(not shown)".into()) && !shown.join(" ").contains("hunter2"));
    let refused = Config::of(&peers).unwrap_err().to_string();
    assert!(refused.contains("a name or password") && !refused.contains("hunter2"), "{refused}");
}

#[test]
fn settings_that_do_not_go_together_are_refused() {
    for (text, problem) in [
        ("[tls]\ncert = \"c.pem\"", "tls.cert is set and tls.key is not"),
        ("[tls]\nkey = \"k.pem\"", "tls.key is set and tls.cert is not"),
        ("[cluster]\nbackplane = \"nats\"", "no server is named"),
        ("[cluster]\nnats_url = \"nats://bus\"", "the backplane is none"),
        ("[server]\nlisten = \"0.0.0.0:80\"", "nothing is encrypted"),
        (
            "[cluster]\npeers = [\"ws://r.example/\"]",
            "ws://r.example/: plain text to another machine",
        ),
        ("[cluster]\npeers = [\"http://r.example/\"]", "not a websocket address"),
    ] {
        let error = Config::of(&from_file(text).unwrap()).unwrap_err().to_string();
        assert!(error.contains(problem), "{text}: {error}");
    }
    let plain = "[server]\nlisten = \"0.0.0.0:80\"\ninsecure_plain = true";
    assert!(Config::of(&from_file(plain).unwrap()).is_ok());
    let peers = "[server]\ninsecure_plain = true\n[cluster]\npeers = [\"ws://r.example/\"]";
    assert!(Config::of(&from_file(peers).unwrap()).is_ok());
    let peers = "[cluster]\npeers = [\"wss://r.example/\", \"ws://127.0.0.1:1/\"]";
    assert!(Config::of(&from_file(peers).unwrap()).is_ok());
    let encrypted = "[server]\nlisten = \"0.0.0.0:80\"\n[tls]\ncert = \"c\"\nkey = \"k\"";
    assert!(Config::of(&from_file(encrypted).unwrap()).is_ok());
}

#[test]
fn the_file_to_begin_with_changes_nothing_commented_out_or_not() {
    let defaults = resolve(&BTreeMap::new(), &BTreeMap::new(), None).unwrap();
    let values = |settings: &Resolved| -> Vec<Value> {
        settings.iter().map(|(_, value, _)| value.clone()).collect()
    };
    let file = template();
    assert_eq!(values(&from_file(&file).unwrap()), values(&defaults));
    // Comments are sentences; what is commented out is a setting.
    let uncommented = file.replace("\n#", "\n").replace("\n ", "\n# ");
    let settings = from_file(&uncommented).unwrap();
    assert_eq!(values(&settings), values(&defaults));
    assert!(settings.iter().all(|(.., origin)| *origin != Origin::Default));
}

#[test]
fn every_setting_has_a_flag_a_variable_and_a_default_of_its_own() {
    let flags: std::collections::BTreeSet<_> = SETTINGS.iter().map(|s| s.flag).collect();
    let variables: std::collections::BTreeSet<_> = SETTINGS.iter().map(Setting::variable).collect();
    assert_eq!((flags.len(), variables.len()), (SETTINGS.len(), SETTINGS.len()));
}
