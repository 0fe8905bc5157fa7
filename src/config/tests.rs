use super::*;

fn options(text: &str) -> Result<Options, Failure> {
    let mut settings = Settings::parse(text).map_err(Failure::Usage)?;
    settings.data.get_or_insert("/d".into());
    settings.options()
}

#[test]
fn what_is_printed_is_read_back_as_the_same() {
    let key = "02".repeat(33);
    let full = format!(
        "user='u'\nsip=['127.0.0.1:0','[::1]:5070']\nsip-advertise='[::1]:5080'\ntrust-realm=['a.test={key}']\n\
         p2p=['/ip4/127.0.0.1/tcp/0']\nhttp='127.0.0.1:0'\nbootstrap=['/dns/b.test/tcp/1']\nrealm=['A.test.']\n\
         digest=['md5','a.test=sha256']\nrefuse-brief=true\ncontacts-any=['a.test']\nserve='own'\nno-mdns=true\nnetwork='n-1'\nmemory='1500m'\nlog='debug'\nready-file='/r'\ndata='/d d'"
    );
    for text in ["", &full] {
        let o = options(text).expect("good");
        assert_eq!(options(&print(&o)), Ok(o));
    }
    assert_eq!(options(&full).expect("good").realms, ["a.test"]);
}

#[test]
fn what_is_wrong_is_said() {
    for (text, word) in [
        ("colour = 1", "colour"),
        ("user = 3", "line 1"),
        ("user = 'a@b'", "--user"),
        ("sip = ['nowhere']", "--sip"),
        ("http = '1.2.3.4'", "--http"),
        ("p2p = ['127.0.0.1']", "--p2p"),
        ("bootstrap = ['x']", "--bootstrap"),
        ("realm = ['a..b']", "--realm"),
        ("serve = 'mine'", "own or all"),
        ("realm = ['localhost']", "try home.lan"),
        ("realm = ['office']", "try office.lan"),
        ("realm = ['192.0.2.1']", "domain name"),
        ("realm = ['abc.dots']", "made from a key"),
        ("network = 'a b'", "--network"),
        ("trust-realm = ['a.test']", "--trust-realm"),
        ("trust-realm = ['a.test=02']", "--trust-realm"),
        ("sip-advertise = 'a:b'", "--sip-advertise"),
        ("memory = 'much'", "1500M"),
        ("memory = '512M'", "docs/limits.md"),
        ("memory = '900'", "MiB"),
        ("digest = ['sha1']", "--digest"),
        ("digest = ['a..b=md5']", "--digest"),
    ] {
        match options(text) {
            Err(Failure::Usage(why)) => assert!(why.contains(word), "{text}: {why}"),
            other => panic!("{text}: {other:?}"),
        }
    }
}

#[test]
fn a_realm_is_taken_as_phones_write_it() {
    for (said, taken) in [
        ("Office.Example.", "office.example"),
        ("bücher.example", "xn--bcher-kva.example"),
        ("xn--bcher-kva.example", "xn--bcher-kva.example"),
        ("office.", "office"),
    ] {
        let o = options(&format!("realm = ['{said}']")).expect(said);
        assert_eq!(o.realms, [taken]);
        assert_eq!(options(&print(&o)), Ok(o), "what is printed is taken again");
    }
}

#[test]
fn a_level_is_ours_and_libraries_are_quieter() {
    for (said, filter) in [
        ("info", "warn,dots=info,libp2p_kad::behaviour=error"),
        ("DEBUG", "info,dots=debug"),
        ("dots_sip=trace,info", "dots_sip=trace,info"),
    ] {
        assert_eq!(options(&format!("log = '{said}'")).expect(said).filter(), filter);
    }
}

#[test]
fn a_flag_wins_over_the_file() {
    let flag = Settings { user: Some("flag".into()), ..Settings::default() };
    let file = Settings::parse("user = 'file'\nrealm = ['a.test']").expect("good");
    let both = flag.over(file);
    assert_eq!((both.user.as_deref(), both.realm.len()), (Some("flag"), 1));
}
