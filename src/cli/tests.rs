use super::*;
use crate::drivers::store::AccountStore;
use clap::CommandFactory;

fn dots(words: &[&str]) -> Result<(), Failure> {
    let cli = Cli::try_parse_from([&["dots"], words].concat()).map_err(|e| Failure::Usage(e.to_string()))?;
    run(cli, |_| async { Err(Failure::Other("up was run".into())) })
}

#[test]
fn every_flag_has_its_key_in_the_file() {
    Cli::command().debug_assert();
    let up = Cli::command();
    let up = up.find_subcommand("up").expect("there is `dots up`");
    let printed =
        config::print(&Settings { data: Some("/d".into()), ..Settings::default() }.options().expect("o"));
    for flag in
        up.get_arguments().filter_map(|a| a.get_long()).filter(|f| !["help", "config", "json"].contains(f))
    {
        let key = format!("\n{flag} = ");
        assert!(printed.contains(&key) || printed.contains(&format!("\n# {flag} = ")), "{flag}");
    }
}

#[test]
fn accounts_without_a_peer() {
    let dir = tempfile::tempdir().expect("a dir");
    let data = dir.path().join("d");
    let data = data.to_str().expect("text");
    let list = dir.path().join("list");
    std::fs::write(&list, "# ours\na@x.test,one,two\nb@X.test,three\r\n\n").expect("written");
    let list = list.to_str().expect("text");
    let config = dir.path().join("dots.toml");
    std::fs::write(&config, "realm = ['x.test']\n").expect("written");
    let config = config.to_str().expect("text");
    let foreign = dots(&["account", "import", list, "--data", data]).expect_err("x.test is not ours");
    assert!(foreign.code() == 7 && foreign.to_string().contains("line 2"), "{foreign}");
    assert_eq!(dots(&["account", "add", "alice", "--data", data]), Ok(()));
    assert_eq!(dots(&["account", "add", "alice", "--data", data]).map_err(|f| f.code()), Err(7));
    assert_eq!(dots(&["account", "import", list, "--data", data, "--config", config]), Ok(()));
    assert_eq!(dots(&["account", "passwd", "nobody", "--data", data]).map_err(|f| f.code()), Err(7));
    assert_eq!(dots(&["account", "add", "a b@c", "--data", data]).map_err(|f| f.code()), Err(2));
    assert_eq!(dots(&["account", "passwd", "a@x.test", "--data", data, "--config", config]), Ok(()));
    assert_eq!(dots(&["account", "remove", "b@x.test", "--data", data]), Ok(()));
    assert_eq!(dots(&["account", "list", "--json", "--data", data]), Ok(()));
    assert_eq!(dots(&["status", "--data", data]).map_err(|f| f.code()), Err(6));
    let names = AccountStore::open(data.as_ref()).expect("opens").list(None, 9).expect("listed");
    let names: Vec<String> = names.into_iter().map(|a| a.aor).collect();
    assert_eq!(names.len(), 2, "{names:?}");
    assert_eq!(names[0], "a@x.test");
    assert!(names[1].starts_with("alice@") && names[1].ends_with(".dots"));
}
