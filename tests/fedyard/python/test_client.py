"""What a person does from Python with a run: of a real hub, and real agents."""

from __future__ import annotations

import io

import numpy as np
import pytest

import fedyard
from fedyard import Client, NeedsFolder, Refused
from fedyard.actions.site import UsageError
from fedyard.python.runs import Run
from tests.fedyard.python.conftest import NAME, Scene
from tests.fedyard.world import World
from tests.waiting import until


@pytest.fixture(scope="module")
def person(world: World) -> Client:
    """A member of the sites' organisation, with an account and no folder."""
    admin = Client(world.hub, world.admin_token)
    made = admin.create_account(world.organisation_id, "Somebody", "member")
    assert made.token is not None
    return Client(world.hub, made.token)


def test_a_run_is_found_by_its_name_its_id_and_how_that_begins(scene: Scene) -> None:
    for text in (f"{scene.project.name}/1", scene.run.id, scene.run.id[:13]):
        assert scene.client.run(text) == scene.run
    assert scene.project.run(1) == scene.run
    with pytest.raises(UsageError, match="has no run 7"):
        scene.project.run(7)


def test_rounds_as_rows_and_as_frames(scene: Scene) -> None:
    rounds = scene.run.rounds()
    assert [(one.task, one.round, one.state, one.updates, one.metrics["spread"]) for one in rounds] == [
        ("train", 1, "completed", 2, 3.0),
        ("train", 2, "completed", 2, 3.0),
    ]
    frame = scene.run.frame()
    assert [*frame["round"]] == [1, 2]
    assert [*frame["spread"]] == [3.0, 3.0]
    sites = scene.run.to_pandas(by="site")
    assert {(row.site, row.rows) for row in sites.itertuples()} == {
        (scene.sites[0].name, 3.0),
        (scene.sites[1].name, 2.0),
    }
    assert (sites["seconds"] >= 0).all()
    assert scene.run.rounds("other") == []
    listed = next(one for one in scene.project.runs() if one.id == scene.run.id)
    assert listed.tasks == []
    assert [*listed.frame()["spread"]] == [3.0, 3.0]


def test_a_model_as_arrays_and_as_a_file(scene: Scene, tmp_path) -> None:
    assert [model.version for model in scene.run.models()] == [1, 2]
    model = scene.project.model()
    assert model.version == 2
    assert model.arrays()["mean"] == pytest.approx([3.5])
    with np.load(model.save(tmp_path / "mean.npz")) as saved:
        assert saved["mean"] == pytest.approx([3.5])
    with pytest.raises(UsageError, match="has no model version 9"):
        scene.project.model(9)


def test_logs_are_opened(scene: Scene) -> None:
    log = until(lambda: len(found := scene.run.log()) >= 4 and found)
    assert {(line.site, line.round, line.text) for line in log} == {
        (site.name, number, f"round {number} of <b>0.5</b>") for site in scene.sites for number in (1, 2)
    }
    assert not any(line.fault for line in log)
    north = scene.run.log(site=scene.sites[0].name)
    assert {line.site for line in north} == {scene.sites[0].name}
    with pytest.raises(UsageError, match=r"0 sites .* are called 'west'"):
        scene.run.log(site="west")


def test_messages_are_sealed_and_opened(scene: Scene) -> None:
    other = Client.of_site(scene.sites[1].path)
    other.project(scene.project.id).send("see you at noon", "coordinator")
    (message,) = until(scene.client.messages)
    assert (message.kind, message.sender) == ("message", scene.sites[1].name)
    assert until(lambda: content_of(message)) == b"see you at noon"


def content_of(message) -> bytes | None:
    try:
        return message.content()
    except UsageError:  # its agent has not yet
        return None


def test_what_has_to_be_opened_needs_a_folder_and_says_so(scene: Scene, person: Client) -> None:
    run = person.run(scene.run.id)
    project = person.project(scene.project.id)
    assert [*run.frame()["spread"]] == [3.0, 3.0]
    for name, ask in {
        "opening version 2 of the model": lambda: project.model().arrays(),
        "opening a run's log": run.log,
        "reading messages": person.messages,
        "sealing a message": lambda: project.send("text", "participants"),
        "joining a project": lambda: person.join(project.name),
        "sealing a first model": lambda: project.start(first_model={"mean": np.zeros(1)}),
        "changing a project's tasks": lambda: project.change(rounds=3),
    }.items():
        with pytest.raises(NeedsFolder, match=f"^{name} needs the folder of a site"):
            ask()
    assert "opens nothing sealed" in repr(person)


def test_what_no_task_can_have_is_said_before_the_hub_is_asked(scene: Scene, person: Client) -> None:
    for project in (person.project(scene.project.id), scene.project):
        with pytest.raises(UsageError, match="there is no task 'other' in this project; its tasks: train"):
            project.start(parameters={"other": {}})


def test_an_account_with_a_folder_opens_with_it(scene: Scene, person: Client, world: World) -> None:
    token = person.issue_token("notebook").token
    assert token is not None
    both = Client(world.hub, token, scene.sites[1].path)
    assert both.me().kind == "account"
    assert both.project(scene.project.id).model(1).arrays()["mean"] == pytest.approx([3.5])


def test_a_run_with_something_of_its_own_beside_the_first(scene: Scene) -> None:
    anew = scene.project.start(
        parameters={"train": {"rate": 0.25}}, rounds=1, first_model={"mean": np.array([9.0])}
    ).wait(60)
    assert anew.state == "succeeded", anew.why()
    assert [one.round for one in anew.rounds()] == [0, 1]
    (first, *_) = anew.models()
    assert first.arrays()["mean"] == pytest.approx([9.0])
    compared = scene.client.compare(scene.run, anew)
    assert {row.text: row.values for row in compared.settings}["train.rate"] == ("0.5", "0.25")
    assert compared.metrics["train", "spread"] == [3.0, 3.0]
    assert [*compared.frame().columns] == ["", "run 1", f"run {anew.number}"]
    again = anew.restart("start", model_version=scene.project.model(1).version).wait(60)
    assert (again.number, again.attempt, again.state) == (anew.number, 2, "succeeded")
    changed = scene.project.change(parameters={"train": {"rate": 0.125}}, description="with less", max_live_runs=2)
    assert (changed.tasks[0].parameters, changed.description) == ({"rate": 0.125}, "with less")
    assert changed.start().wait(60).state == "succeeded"


def test_lists_are_narrowed_down(scene: Scene) -> None:
    north, east = (site.site_id for site in scene.sites)
    client = scene.client
    assert [one.id for one in client.projects(coordinator=north)] == [scene.project.id]
    assert client.projects(coordinator=east) == []
    assert scene.run.id in {one.id for one in client.runs(site_id=east, project_id=scene.project.id)}
    assert [one.site_id for one in client.members(scene.project.id, state="active")] == [north, east]
    assert client.members(scene.project.id, state="requested") == []
    assert {north, east} <= {one.id for one in client.sites(organisation_id=client.me().organisation_id)}
    assert client.sites(state="retired", project_id=scene.project.id) == []


def test_waiting_has_an_end(scene: Scene) -> None:
    east = scene.sites[1]
    east.end()
    try:
        run = scene.project.start()
        with pytest.raises(TimeoutError, match=r"is \w+ after 0\.5 s: .*waits for .*; .*stop\(\) it"):
            run.wait(0.5)
        why = run.why()
        assert east.name in str(why)
        assert run.stop("enough").state == "cancelled"
        assert run.wait(30).state == "cancelled"
    finally:
        east.start()


def test_why_is_told_to_an_account_as_to_the_sites_it_acts_for(scene: Scene, person: Client, world: World) -> None:
    """The coordinator's people see all seats; an account's own id is nobody's seat."""
    admin = Client(world.hub, world.admin_token)
    for client in (scene.client, person, admin, Client(world.hub, world.admin_token, scene.sites[1].path)):
        run = client.run(scene.run.id)
        assert client.sees_as(run) == scene.sites[0].site_id
        assert run.why().sentence.startswith("It succeeded")
    assert Client.of_site(scene.sites[1].path).sees_as(scene.run) == scene.sites[1].site_id


def test_an_account_of_another_organisation_is_not_the_coordinator(scene: Scene, world: World) -> None:
    admin = Client(world.hub, world.admin_token)
    elsewhere = admin.create_organisation("Elsewhere").id
    token = admin.create_account(elsewhere, "Stranger", "member").token
    stranger = Client(world.hub, token or "")
    assert stranger.sees_as(scene.run) == ""
    with pytest.raises(Refused):
        stranger.run(scene.run.id)


def test_everything_shows_itself_and_escapes_what_others_wrote(scene: Scene) -> None:
    shown = [
        scene.project._repr_html_(),
        scene.client.projects()._repr_html_(),
        scene.run._repr_html_(),
        scene.run.rounds()._repr_html_(),
        scene.run.log()._repr_html_(),
        scene.run.why()._repr_html_(),
        scene.project.model()._repr_html_(),
        scene.client.compare(scene.run, scene.run)._repr_html_(),
        scene.client.me()._repr_html_(),
        scene.client.sites()._repr_html_(),
    ]
    assert not any("<script" in one or "<b>0.5" in one for one in shown)
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in shown[0]
    assert "round 1 of &lt;b&gt;0.5&lt;/b&gt;" in shown[4]
    assert "It succeeded" in shown[2]
    assert all(one.startswith("<") for one in shown)


def test_a_run_and_a_project_print_in_a_line(scene: Scene) -> None:
    run, project = scene.run, scene.project
    assert str(run) == f"run {run.number}, attempt {run.attempt}: succeeded (completed); {run.id}"
    assert str(project) == f"project {project.name!r}, 1 task; {project.id}"


def test_secrets_are_not_shown(world: World) -> None:
    admin = Client(world.hub, world.admin_token)
    made = admin.create_enrolment(world.organisation_id)
    assert made.token is not None
    assert made.token not in repr(made) + made._repr_html_()
    sign_in = admin.issue_sign_in()
    assert sign_in.token is not None
    assert sign_in.token not in repr(sign_in) + sign_in._repr_html_()
    assert admin.revoke_enrolment(made.id).id == made.id


def test_a_run_is_drawn(scene: Scene) -> None:
    plot = scene.run.plot()
    titles = [axes.get_title(loc="left") for axes in plot.axes]
    assert titles == ["train: spread", "train: rows", "train: seconds", "train: where the time went"]
    labels = [text.get_text() for text in plot.axes[1].get_legend().get_texts()]
    assert labels == sorted(site.name for site in scene.sites)
    assert plot._repr_png_().startswith(b"\x89PNG")
    scene.run.plot(["rows"]).savefig(target := io.BytesIO(), format="svg")
    assert b"</svg>" in target.getvalue()
    with pytest.raises(ValueError, match="has no metric 'loss'; it has: rows, seconds, spread"):
        scene.run.plot(["loss"])


def test_people_of_the_network(world: World) -> None:
    admin = Client(world.hub, world.admin_token)
    organisation = admin.create_organisation("Bergen").id
    assert admin.organisation(organisation).name == "Bergen"
    account = admin.create_account(organisation, "Ada", "auditor")
    assert [one.name for one in admin.accounts(organisation_id=organisation)] == ["Ada"]
    assert admin.account(account.id).role == "auditor"
    assert admin.end_sessions(account.id).ended_count == 0
    admin.disable_account(account.id)
    assert admin.account(account.id).disabled_at is not None
    hook = admin.create_webhook("https://hooks.example/fedyard", ["run.ended"], organisation_id=organisation)
    assert hook.secret not in repr(hook) + hook._repr_html_()
    assert admin.rotate_webhook(hook.id).version == 2
    assert [one.id for one in admin.webhooks(organisation_id=organisation)] == [hook.id]
    assert admin.deliveries(hook.id) == []
    admin.delete_webhook(hook.id)
    assert admin.webhooks(organisation_id=organisation) == []
    kinds = [event.kind for event in admin.audit(about=organisation)]
    assert {"organisation_created", "account_created", "webhook_created"} <= {*kinds}
    assert admin.verify_events().faults == []
    assert isinstance(admin.concerns(), list)
    assert {one.role for one in admin.processes()} >= {"web"}
    assert admin.vitals().at is not None
    assert admin.dead_letters() == []
    assert len(admin.description()) > 3
    assert admin.enrolments()


def test_a_thing_that_no_client_gave_out(scene: Scene) -> None:
    made = Run(**{name: getattr(scene.run, name) for name in scene.run.__struct_fields__})
    with pytest.raises(UsageError, match="was not given out by a client"):
        made.refresh()


def test_what_is_imported_from_fedyard_is_there() -> None:
    assert all(getattr(fedyard, name) is not None for name in fedyard.__all__)
    assert NAME
