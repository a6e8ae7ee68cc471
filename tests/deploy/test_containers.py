"""docker/: what a machine without a Docker engine can say of it, by the programs that will read each file."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from gateway.settings import Settings, find_misspelt
from gateway.transport.topology import DEAD, LEAST_RIGHTS
from monitoring.alerts import AlertCode
from monitoring.registry import METRICS
from tests.support.dockerfile import complaints, read_stages
from tests.support.processes import need_program

HOUSE = Path(__file__).parents[2]
DOCKER = HOUSE / "docker"
PARTS = ("api-1", "api-2", "relay", "deliver", "periodic", "intake", "inspect")


def run(*command: str, **environment: str) -> str:
    own = {name: value for name, value in os.environ.items() if not name.startswith("TRUC_")}
    done = subprocess.run(command, env=own | environment, capture_output=True, text=True, timeout=240, cwd=HOUSE)
    assert done.returncode == 0, f"{command}: {done.stdout}\n{done.stderr}"
    return done.stdout


def composed(*names: str, **environment: str) -> dict[str, Any]:
    program = need_program("docker-compose", "docker-compose")
    files = [word for name in names for word in ("--file", str(DOCKER / name))]
    told = run(program, *files, "config", "--format", "json", **environment)
    return dict(json.loads(told))


@pytest.fixture(scope="module")
def secrets_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    need_program("openssl", "openssl")
    folder = tmp_path_factory.mktemp("secrets") / "secrets"
    run(sys.executable, str(DOCKER / "make_secrets"), str(folder))
    return folder


@pytest.fixture(scope="module")
def province(secrets_folder: Path) -> dict[str, Any]:
    return composed("province.yaml", TRUC_NODE="tinh-thu", SECRETS_FOLDER=str(secrets_folder))


def test_the_dockerfile_breaks_no_rule() -> None:
    assert complaints(read_stages(DOCKER / "Dockerfile")) == []


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("USER 10001:10001", "USER truc", "not a number above 0"),
        (" --require-hashes --no-deps --only-binary", " --no-deps --only-binary", "without hashes"),
        ('ENTRYPOINT ["/opt/truc/bin/truc"]', "ENTRYPOINT /opt/truc/bin/truc", "keep the signals"),
        ("BASE=debian:trixie-slim", "BASE=debian", "no fixed tag"),
        ("    && rm -rf /var/lib/apt/lists/* \\\n", "", "lists are left behind"),
        ("COPY edxml ./edxml", "COPY . .", "the whole tree"),
        ("TRUC_LANGUAGE=vi", "TRUC_LANGUAGE=vi DB_PASSWORD=x", "a secret"),
    ],
)
def test_a_worse_dockerfile_is_complained_of(tmp_path: Path, before: str, after: str, said: str) -> None:
    text = (DOCKER / "Dockerfile").read_text("utf-8")
    assert before in text
    (tmp_path / "Dockerfile").write_text(text.replace(before, after), "utf-8")
    assert [line for line in complaints(read_stages(tmp_path / "Dockerfile")) if said in line]


def test_the_image_copies_what_the_ignore_file_lets_in() -> None:
    let_in = {
        line[1:] for line in (DOCKER / "Dockerfile.dockerignore").read_text("utf-8").splitlines() if line[:1] == "!"
    }
    stages = read_stages(DOCKER / "Dockerfile")
    copies = [one.text.split() for stage in stages for one in stage.instructions if one.word == "COPY"]
    assert {name for words in copies if not words[0].startswith("--from=") for name in words[:-1]} == let_in
    assert [name for name in let_in if not (HOUSE / name).exists()] == []


def test_what_runs_is_locked_as_what_was_tested() -> None:
    """requirements.run.lock: the same releases by the same hashes as requirements.lock, without the tools of tests."""
    running, tested = (blocks(HOUSE / name) for name in ("requirements.run.lock", "requirements.lock"))
    assert {name: found for name, found in running.items() if tested.get(name) != found} == {}
    declared = re.findall(
        r'^    "([a-z0-9-]+)', (HOUSE / "pyproject.toml").read_text("utf-8").split("[project.opt")[0], re.M
    )
    assert [name for name in declared if name not in running] == []
    assert "pytest" not in running


def blocks(path: Path) -> dict[str, tuple[str, frozenset[str]]]:
    """name → (version, hashes); a name with two versions for two Pythons is kept as both."""
    found: dict[str, tuple[str, frozenset[str]]] = {}
    for block in re.split(r"\n(?=[a-z])", path.read_text("utf-8")):
        name, _, rest = block.partition("==")
        version, hashes = rest.split()[0], frozenset(re.findall(r"sha256:(\w+)", block))
        before = found.get(name, ("", frozenset()))
        found[name] = (f"{before[0]} {version}".strip(), before[1] | hashes)
    return found


def test_a_leaf_is_one_process_on_this_machine_alone() -> None:
    leaf = composed("leaf.yaml", TRUC_NODE="xa-thu")
    assert sorted(leaf["services"]) == ["backup", "truc"]
    truc = leaf["services"]["truc"]
    assert truc["ports"][0]["host_ip"] == "127.0.0.1"
    assert_caged(truc)


def test_backups_are_made_in_a_container_of_their_own(province: dict[str, Any]) -> None:
    """Caged as the parts are; its loop is a shell's, its command one that the program takes."""
    for found in (province, composed("leaf.yaml", TRUC_NODE="xa-thu", BACKUP_FOLDER="/mnt/sao-luu")):
        service = found["services"]["backup"]
        assert {mount["target"] for mount in service["volumes"]} == {"/var/lib/truc", "/var/backups/truc"}
        assert (service["read_only"], service["user"], service["cap_drop"]) == (True, "10001:10001", ["ALL"])
        assert not service.get("ports")
        script = service["entrypoint"][2].replace("$$", "$")
        run("sh", "-n", "-c", script)
        words = re.search(r"bin/truc (backup .*)", script)
        assert words is not None
        assert words[1].split() == ["backup", "/var/backups/truc", "--keep", '"$KEEP"', "--json"]
    assert province["services"]["backup"]["environment"].items() >= province["services"]["relay"]["environment"].items()


def test_whoever_starts_children_is_not_process_1_itself(province: dict[str, Any]) -> None:
    """A child whose parent is gone becomes process 1's: ours bury their own alone, and a shell or the broker none."""
    leaf = composed("leaf.yaml", TRUC_NODE="xa-thu")
    brokers = [name for name in province["services"] if name.startswith("mq")]
    assert len(brokers) == 3
    for found, names in ((province, (*PARTS, "init", "backup", *brokers)), (leaf, ("truc", "backup"))):
        assert [name for name in names if found["services"][name].get("init") is not True] == []


def test_a_leaf_without_a_name_is_refused() -> None:
    program = need_program("docker-compose", "docker-compose")
    own = {name: value for name, value in os.environ.items() if not name.startswith("TRUC_")}
    done = subprocess.run(
        [program, "--file", str(DOCKER / "leaf.yaml"), "config"], env=own, capture_output=True, text=True
    )
    assert done.returncode != 0
    assert "TRUC_NODE" in done.stderr


def assert_caged(service: dict[str, Any], *more: str) -> None:
    assert service["read_only"] is True
    assert service["user"] == "10001:10001"
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"], "no other filter: the inspector adds its own"
    assert service["stop_grace_period"] == "45s"
    assert {mount["target"] for mount in service["volumes"]} == {"/var/lib/truc", *more}
    memory = int(service["mem_limit"])
    assert memory >= (Settings().inspect_memory_mib + 256) << 20, "room for the process beside the inspector"
    assert service["memswap_limit"] == service["mem_limit"]


def test_every_part_of_a_province_is_caged_and_told_the_same(province: dict[str, Any]) -> None:
    services = province["services"]
    told = services["relay"]["environment"]
    for name in (*PARTS, "init"):
        assert_caged(services[name])
        assert services[name]["environment"] == told
    assert [services[name]["command"] for name in PARTS] == [[name.split("-")[0]] for name in PARTS]
    assert find_misspelt(told) == {}
    assert [
        name for name in PARTS if services[name]["depends_on"]["init"]["condition"] != "service_completed_successfully"
    ] == []


def test_settings_of_a_province_are_taken(province: dict[str, Any]) -> None:
    """By the settings' own rules; the files that they name lie elsewhere here."""
    told = province["services"]["relay"]["environment"]
    values = {name.removeprefix("TRUC_").lower(): value for name, value in told.items()}
    settings = Settings(**values)
    assert settings.broker.count("amqp://") == 3
    assert settings.database.startswith("postgresql://")
    assert all(map(settings.is_watched_from, ("127.0.0.1", "172.18.0.9"))), "the container itself, and Prometheus"


def test_a_provinces_machines_share_one_folder_of_packets(secrets_folder: Path) -> None:
    """On each machine the parts alone, caged as ever, and each of them writes packets where the others find them."""
    where = "/srv/truc/blobs"
    found = composed(
        "province.yaml", "machines.yaml", TRUC_NODE="tinh-thu", SECRETS_FOLDER=str(secrets_folder),
        BLOBS_FOLDER="/mnt/b", TRUC_DATABASE="postgresql://truc@10.0.0.5/truc", TRUC_BROKER="amqps://10.0.0.6:5671/truc",
    )  # fmt: skip
    services = found["services"]
    assert sorted(services) == sorted([*PARTS, "init", "backup", "proxy", "prometheus", "grafana"])
    told = services["relay"]["environment"]
    assert find_misspelt(told) == {}
    for name in (*PARTS, "init"):
        assert_caged(services[name], where)
        assert services[name]["environment"] == told
    for name in (*PARTS, "init", "backup"):
        (shared,) = [mount for mount in services[name]["volumes"] if mount["target"] == where]
        assert (shared["type"], shared["source"]) == ("bind", "/mnt/b"), "a volume of this machine is no shared folder"
        assert services[name]["environment"]["TRUC_BLOBS"] == where
        assert "outside" in services[name]["networks"], "the database is on another machine"
    assert not services["init"].get("depends_on")
    assert "create_host_path: false" in (DOCKER / "machines.yaml").read_text("utf-8")


def test_the_guides_file_gives_parts_the_agencies_folders_and_servers(tmp_path: Path, secrets_folder: Path) -> None:
    (own,) = re.findall(r"^```yaml\n(.*?)^```$", (HOUSE / "docs/guides/containers.md").read_text("utf-8"), re.M | re.S)
    (tmp_path / "agencies.yaml").write_text(own, "utf-8")
    told = {"TRUC_NODE": "tinh-thu", "SECRETS_FOLDER": str(secrets_folder)}
    services = composed("province.yaml", str(tmp_path / "agencies.yaml"), **told)["services"]
    for name in ("api-1", "deliver", "intake", "periodic"):
        assert {mount["target"] for mount in services[name]["volumes"]} == {"/var/lib/truc", "/srv/van-ban"}, name
        assert_caged(services[name], "/srv/van-ban")
    assert sorted(services["deliver"]["networks"]) == ["inside", "outside"]


@pytest.mark.parametrize("lacking", ["BLOBS_FOLDER", "TRUC_DATABASE", "TRUC_BROKER"])
def test_a_machine_that_is_not_told_where_is_refused(lacking: str) -> None:
    told = {"TRUC_NODE": "tinh", "SECRETS_FOLDER": "/s", "BLOBS_FOLDER": "/b", "TRUC_DATABASE": "d", "TRUC_BROKER": "b"}
    own = {name: value for name, value in os.environ.items() if not name.startswith("TRUC_")} | told
    del own[lacking]
    program = need_program("docker-compose", "docker-compose")
    files = ["--file", str(DOCKER / "province.yaml"), "--file", str(DOCKER / "machines.yaml")]
    done = subprocess.run([program, *files, "config"], env=own, capture_output=True, text=True, timeout=240)
    assert done.returncode != 0
    assert lacking in done.stderr


def test_secrets_are_files_that_one_user_reads(province: dict[str, Any], secrets_folder: Path) -> None:
    named = {Path(one["file"]).name for one in province["secrets"].values()}
    assert named == {path.name for path in secrets_folder.iterdir()}
    assert {stat.S_IMODE(path.stat().st_mode) for path in secrets_folder.iterdir()} == {0o400}
    environments = json.dumps([one.get("environment", {}) for one in province["services"].values()])
    for path in secrets_folder.iterdir():
        if path.name != "broker-user":
            assert path.read_text("utf-8").strip() not in environments


def test_making_secrets_again_changes_none(secrets_folder: Path) -> None:
    before = {path.name: path.read_bytes() for path in secrets_folder.iterdir()}
    (secrets_folder / "grafana-password").unlink()
    run(sys.executable, str(DOCKER / "make_secrets"), str(secrets_folder))
    after = {path.name: path.read_bytes() for path in secrets_folder.iterdir()}
    assert {name for name in before if before[name] != after[name]} == {"grafana-password"}


def test_the_brokers_know_the_user_by_the_rights_it_needs(secrets_folder: Path) -> None:
    told = json.loads((secrets_folder / "broker-definitions.json").read_text("utf-8"))
    (user,) = told["users"]
    stored = base64.b64decode(user["password_hash"])
    password = (secrets_folder / "broker-password").read_bytes()
    assert stored[4:] == hashlib.sha256(stored[:4] + password).digest()
    (given,) = told["permissions"]
    assert {name: given[name] for name in ("configure", "write", "read")} == dict(LEAST_RIGHTS)
    assert user["name"] == (secrets_folder / "broker-user").read_text("utf-8")


def test_brokers_find_each_other_by_the_names_that_they_have(province: dict[str, Any]) -> None:
    listed = re.findall(r"= rabbit@(\w+)", (DOCKER / "rabbitmq/rabbitmq.conf").read_text("utf-8"))
    assert [province["services"][name]["hostname"] for name in listed] == listed == ["mq1", "mq2", "mq3"]


def test_images_can_come_from_a_mirror_of_the_centre(secrets_folder: Path) -> None:
    names = ("TRUC", "RABBITMQ", "POSTGRES", "HAPROXY", "PROMETHEUS", "GRAFANA")
    mirrors = {f"IMAGE_{name}": f"kho.example/{name.lower()}:1" for name in names}
    found = composed("province.yaml", TRUC_NODE="tinh", SECRETS_FOLDER=str(secrets_folder), **mirrors)
    assert {one["image"] for one in found["services"].values()} == set(mirrors.values())


def test_the_proxys_configuration_is_taken(tmp_path: Path, secrets_folder: Path) -> None:
    text = (DOCKER / "haproxy/haproxy.cfg").read_text("utf-8")
    assert "/run/secrets/tls.pem" in text
    (tmp_path / "haproxy.cfg").write_text(
        text.replace("/run/secrets/tls.pem", str(secrets_folder / "tls.pem")), "utf-8"
    )
    run(need_program("haproxy", "haproxy"), "-c", "-f", str(tmp_path / "haproxy.cfg"))
    longest = next(limit.le for limit in Settings.model_fields["long_poll"].metadata if hasattr(limit, "le"))
    patience = re.search(r"timeout server (\d+)s", text)
    assert patience is not None
    assert int(patience[1]) > longest


def test_prometheus_takes_its_configuration_and_rules() -> None:
    told = run(need_program("promtool", "prometheus"), "check", "config", str(DOCKER / "prometheus/prometheus.yml"))
    assert "FAILED" not in told


def test_every_alert_of_the_node_has_a_rule_and_a_page() -> None:
    text = (DOCKER / "prometheus/rules.yml").read_text("utf-8")
    assert sorted(re.findall(r'truc_alert_active\{alert="([\w.]+)"\}', text)) == sorted(AlertCode)
    pages = re.findall(r"- alert: (\w+)\n(?:.*\n)*?.*page: (\S+)", text)
    assert len(pages) == text.count("- alert: ")
    assert [(alert, page) for alert, page in pages if not says_what_to_do(HOUSE / page, alert)] == []
    assert DEAD in text


def says_what_to_do(page: Path, alert: str) -> bool:
    """Whether a page of the runbook names an alert where a person wrote, by its name here or by the node's own."""
    written = re.sub(r"<!-- generated.*?<!-- end of generated -->", "", page.read_text("utf-8"), flags=re.S)
    own = "alert." + re.sub(r"(?<!^)(?=[A-Z])", "_", alert.removeprefix("Truc")).lower()
    return alert in written or own in written


def test_rules_and_dashboard_ask_for_metrics_that_exist() -> None:
    known = {spec.name for spec in METRICS} | {f"{spec.name}_bucket" for spec in METRICS}
    for name in ("prometheus/rules.yml", "grafana/dashboards/truc.json"):
        asked = set(re.findall(r"\btruc_\w+", (DOCKER / name).read_text("utf-8")))
        assert asked
        assert asked - known == set()


def test_alerts_fire_when_they_should(tmp_path: Path) -> None:
    """promtool plays series against the rules: a gap in the account, a part that is away, and a node that is well."""
    promtool = need_program("promtool", "prometheus")
    (tmp_path / "played.json").write_text(json.dumps(_played()), "utf-8")
    run(promtool, "test", "rules", str(tmp_path / "played.json"))
    wrong = _played(gap=0)
    (tmp_path / "wrong.json").write_text(json.dumps(wrong), "utf-8")
    done = subprocess.run([promtool, "test", "rules", str(tmp_path / "wrong.json")], capture_output=True, text=True)
    assert done.returncode != 0, "an alert that does not fire must be seen here"


def _played(gap: int = 1) -> dict[str, Any]:
    well = [
        {"series": 'up{job="truc-api",instance="a"}', "values": "1x20"},
        *(
            {"series": f'up{{job="truc-parts",part="{part}",instance="{part}"}}', "values": "1x20"}
            for part in ("relay", "deliver", "periodic", "intake", "inspect")
        ),
    ]
    gone = [one for one in well if "relay" not in one["series"]]
    active = {"series": 'truc_alert_active{alert="alert.account_gap",instance="periodic"}', "values": f"{gap}x20"}

    def fires(name: str, *labels: dict[str, str]) -> dict[str, Any]:
        return {"eval_time": "5m", "alertname": name, "exp_alerts": [{"exp_labels": each} for each in labels]}

    return {
        "rule_files": [str(DOCKER / "prometheus/rules.yml")],
        "evaluation_interval": "15s",
        "tests": [
            {
                "interval": "15s",
                "input_series": [*well, active],
                "promql_expr_test": [
                    {
                        "expr": 'count(ALERTS{alertname="TrucAccountGap",alertstate="firing"})',
                        "eval_time": "4m",
                        "exp_samples": [{"labels": "{}", "value": 1}],
                    }
                ],
            },
            {
                "interval": "15s",
                "input_series": well,
                "promql_expr_test": [{"expr": 'ALERTS{alertstate="firing"}', "eval_time": "4m", "exp_samples": []}],
            },
            {
                "interval": "15s",
                "input_series": gone,
                "promql_expr_test": [
                    {
                        "expr": 'count by (alertname) (ALERTS{alertstate="firing"})',
                        "eval_time": "4m",
                        "exp_samples": [{"labels": '{alertname="TrucPartMissing"}', "value": 1}],
                    }
                ],
            },
        ],
    }


def test_the_dashboard_asks_in_good_promql(tmp_path: Path) -> None:
    """Each question of a panel as a recording rule, which promtool reads."""
    board = json.loads((DOCKER / "grafana/dashboards/truc.json").read_text("utf-8"))
    questions = [target["expr"] for panel in board["panels"] for target in panel.get("targets", [])]
    assert len(questions) > 15
    rules = [{"record": f"panel:{number}", "expr": asked} for number, asked in enumerate(questions)]
    (tmp_path / "rules.json").write_text(json.dumps({"groups": [{"name": "panels", "rules": rules}]}), "utf-8")
    run(need_program("promtool", "prometheus"), "check", "rules", str(tmp_path / "rules.json"))
    source = (DOCKER / "grafana/provisioning/datasources/prometheus.yaml").read_text("utf-8")
    assert {target["datasource"]["uid"] for panel in board["panels"] for target in panel.get("targets", [])} == {
        "truc-prometheus"
    }
    assert "uid: truc-prometheus" in source


def test_no_file_of_the_installation_names_a_host_to_fetch_from() -> None:
    files = [path for folder in (DOCKER, HOUSE / "systemd") for path in folder.rglob("*") if path.is_file()]
    assert len(files) > 12
    addresses = {
        (path.name, found) for path in files for found in re.findall(r"https?://[^\s\"')/]+", path.read_text("utf-8"))
    }
    assert addresses == {("prometheus.yaml", "http://prometheus:9090"), ("province.yaml", "http://127.0.0.1:9090")}
