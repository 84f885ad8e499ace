"""One pod on its node: its containers from image to last end, its probes, and what its status says of them."""

from __future__ import annotations

import base64
import os
import re
import shutil
import socket
import threading
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.cluster.apiserver import resources as r
from tests.cluster.apiserver.clock import stamp
from tests.cluster.apiserver.containers import Outcome, Pause, Process, Running, exec_in, expanded
from tests.cluster.apiserver.controllers.pods_of import done, set_condition
from tests.cluster.apiserver.images import Image, is_name
from tests.cluster.apiserver.logs import Log
from tests.cluster.apiserver.quantities import quantity
from tests.cluster.apiserver.store import Key

if TYPE_CHECKING:
    from tests.cluster.apiserver.kubelet import Kubelet

Json = dict[str, Any]
POD_NETWORK = Path(__file__).with_name("pod_network")
_WORDS = {"startupProbe": "Startup", "readinessProbe": "Readiness", "livenessProbe": "Liveness"}
TERMINATION_LOG = "termination-log"
EPOCH = "1970-01-01T00:00:00Z"


@dataclass
class Container:
    """One container of a pod, as its kubelet knows it."""

    spec: Json
    init: bool
    waiting: tuple[str, str] | None = ("ContainerCreating", "")
    running: Running | None = None
    outcome: Outcome | None = None
    last: Outcome | None = None
    restarts: int = 0
    ready: bool = False
    started: bool = False
    stopping: bool = False
    log: Log = field(default_factory=Log)
    last_log: Log | None = None


class NotStarted(Exception):
    """It waits, and is tried again. reason, message: of the waiting state."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason, self.message = reason, message


class Pod:
    """The worker of one pod: a thread from its binding to its end."""

    def __init__(self, kubelet: Kubelet, pod: Json) -> None:
        self.kubelet, self.key = kubelet, Key(r.PODS, pod["metadata"]["namespace"], pod["metadata"]["name"])
        self.uid: str = pod["metadata"]["uid"]
        self.node: str = pod["spec"]["nodeName"]
        self.pod = pod
        self.ip = ""
        self.folder = kubelet.folder / self.uid
        spec = pod["spec"]
        self.containers = [Container(each, True) for each in spec.get("initContainers") or []]
        self.containers += [Container(each, False) for each in spec["containers"]]
        self.changed = threading.Condition()
        self.told_to_stop = False
        self.killed = False
        self.lost = False
        self.failed: tuple[str, str] | None = None
        self.started_at_s: float | None = None
        self.thread = threading.Thread(target=self._run, name=f"pod {self.key.name}", daemon=True)

    # ------------------------------------------------------------ from outside

    def stop(self, grace_s: float) -> None:
        """SIGTERM now, SIGKILL after the grace; once more with a shorter one: SIGKILL after that."""
        with self.changed:
            if self.told_to_stop and grace_s > 0:
                self.kubelet.loop.at(self.kubelet.api.clock.now() + grace_s, self.kill)
                return
            self.told_to_stop = True
            self.changed.notify_all()
            alive = [each for each in self.containers if each.running is not None]
            running = [each.running for each in alive if each.running is not None]
        for each in alive:
            self.kubelet.say(self, "Normal", "Killing", f"Stopping container {each.spec['name']}")
        if grace_s <= 0:
            self.kill()
            return
        for one in running:
            one.terminate()
        self.kubelet.loop.at(self.kubelet.api.clock.now() + grace_s, self.kill)

    def kill(self) -> None:
        with self.changed:
            self.told_to_stop = self.killed = True
            self.changed.notify_all()
            running = [each.running for each in self.containers if each.running is not None]
        for each in running:
            each.kill()

    def fail(self, reason: str, message: str, grace_s: float) -> None:
        """End it as the kubelet itself does: evicted, or past its deadline."""
        with self.changed:
            if self.failed is None:
                self.failed = (reason, message)
        self.stop(grace_s)

    def lose(self) -> None:
        """Its node is away: what runs ends, and nobody says so."""
        self.lost = True
        self.kill()

    # ------------------------------------------------------------ its life

    def _run(self) -> None:
        try:
            self._live()
        except Exception as error:  # noqa: BLE001  # told by the fixture, not lost in a thread
            self.kubelet.problems.append(error)
        finally:
            shutil.rmtree(self.folder, ignore_errors=True)

    def _live(self) -> None:
        self.ip = self.kubelet.address()
        self.started_at_s = self.kubelet.api.clock.now()
        self._watch_deadline()
        self._tell()
        sidecars: list[threading.Thread] = []
        for each in [c for c in self.containers if c.init]:
            if _is_sidecar(each):
                sidecars.append(threading.Thread(target=self._one_safely, args=(each,), daemon=True))
                sidecars[-1].start()
                self._until_started(each)
                continue
            self._one(each)
            if self.told_to_stop or each.outcome is None or each.outcome.code:
                break
        else:
            threads = [
                threading.Thread(target=self._one_safely, args=(each,), daemon=True)
                for each in self.containers
                if not each.init
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        self._stop_sidecars()
        for thread in sidecars:
            thread.join()
        self._tell()
        if not self.lost:
            self.kubelet.ended(self)

    def _until_started(self, sidecar: Container) -> None:
        with self.changed:
            self.changed.wait_for(lambda: self.told_to_stop or sidecar.started)

    def _stop_sidecars(self) -> None:
        """Once all that they were for has ended."""
        grace_s = self.pod["spec"]["terminationGracePeriodSeconds"]
        for each in self.containers:
            if _is_sidecar(each):
                with self.changed:
                    each.stopping = True
                    running = each.running
                    self.changed.notify_all()
                if running is not None:
                    running.terminate()
                    self.kubelet.loop.at(self.kubelet.api.clock.now() + grace_s, running.kill)

    def _one_safely(self, container: Container) -> None:
        try:
            self._one(container)
        except Exception as error:  # noqa: BLE001  # as in _run
            self.kubelet.problems.append(error)

    def _one(self, container: Container) -> None:
        """One container from its image to its last end, with all restarts."""
        while not self.told_to_stop and not container.stopping:
            tries = 0
            while not self._start(container, tries):
                tries += 1
                if not self._pause(self.kubelet.backoff_s * min(2 ** (tries - 1), 30)):
                    return
            if container.running is not None:
                self._probe_from(container, container.running)
                outcome = self._with_message(container, container.running.run())
                with self.changed:
                    container.running, container.outcome, container.ready = None, outcome, False
            if self.told_to_stop or not self._again(container):
                self._tell()
                return
            self._back_off(container)

    def _with_message(self, container: Container, outcome: Outcome) -> Outcome:
        """What the container wrote as its last word; by its policy the end of its log, if it failed."""
        written = self.folder / container.spec["name"] / TERMINATION_LOG
        message = written.read_bytes()[:4096].decode(errors="replace") if written.exists() else ""
        if not message and outcome.code and container.spec["terminationMessagePolicy"] == "FallbackToLogsOnError":
            message = b"".join(text for _, text in container.log.lines[-80:])[-2048:].decode(errors="replace")
        written.unlink(missing_ok=True)
        return outcome._replace(message=message)

    def _again(self, container: Container) -> bool:
        policy = container.spec.get("restartPolicy") or self.pod["spec"]["restartPolicy"]
        code = container.outcome.code if container.outcome else 0
        if container.stopping or (container.init and not code and not _is_sidecar(container)):
            return False
        return policy == "Always" or (policy == "OnFailure" and code != 0)

    def _back_off(self, container: Container) -> None:
        name = container.spec["name"]
        with self.changed:
            container.last, container.last_log = container.outcome, container.log
            container.outcome, container.log = None, Log()
            delay = self.kubelet.backoff_s * min(2**container.restarts, 30)
            who = f"{self.key.name}_{self.key.namespace}({self.uid})"
            text = f"back-off {delay:g}s restarting failed container={name} pod={who}"
            container.waiting = ("CrashLoopBackOff", text)
        self._tell()
        self.kubelet.say(self, "Warning", "BackOff", f"Back-off restarting failed container {name} in pod {who}")
        self._pause(delay)
        container.restarts += 1

    def _pause(self, seconds: float) -> bool:
        """By the server's clock; False once it shall stop."""
        clock = self.kubelet.api.clock
        until = clock.now() + seconds
        self.kubelet.loop.at(until, self._nudge)
        with self.changed:
            self.changed.wait_for(lambda: self.told_to_stop or clock.now() >= until)
        return not self.told_to_stop

    def _nudge(self) -> None:
        with self.changed:
            self.changed.notify_all()

    # ------------------------------------------------------------ starting

    def _start(self, container: Container, tries: int) -> bool:
        """False: it waits, and is to be tried again. Without a process but with an outcome: it could not be run."""
        spec = container.spec
        try:
            image = self._pulled(spec, tries)
            environment = self._environment(spec, image)
            self._may_be_root(spec, image)
            places = self._mounted(spec, environment)
        except NotStarted as why:
            container.waiting = (why.reason, why.message)
            self._tell()
            return False
        places[spec["terminationMessagePath"]] = str(self.folder / spec["name"] / TERMINATION_LOG)
        argv, environment = _command(spec, image, environment, places)
        clock = self.kubelet.api.clock
        limit = ((spec.get("resources") or {}).get("limits") or {}).get("memory")
        folder = self.folder / spec["name"]
        folder.mkdir(parents=True, exist_ok=True)
        self.kubelet.say(self, "Normal", "Created", "Container created", part=container)
        running: Running | None = None
        try:
            if image.runs != "process":
                running = Pause(clock)
                if image.runs == "nothing":
                    running.terminate()
            else:
                running = Process(argv, environment, folder, clock, int(quantity(limit)) if limit else None)
        except OSError:
            text = _not_found(argv)
            container.outcome = Outcome(128, "StartError", text, None, clock.now())
            self.kubelet.say(self, "Warning", "Failed", f"Error: {text}", part=container)
        with self.changed:
            container.waiting = None
            container.running = running
            if running is not None:
                container.log = running.log
            waits = spec.get("readinessProbe") or spec.get("startupProbe")
            container.ready = running is not None and not waits and (not container.init or _is_sidecar(container))
            container.started = running is not None and not spec.get("startupProbe")
            self.changed.notify_all()
            stopped, killed = self.told_to_stop or container.stopping, self.killed
        if running is not None:
            self.kubelet.say(self, "Normal", "Started", "Container started", part=container)
            if stopped:
                running.terminate()
            if killed:
                running.kill()
        self._tell()
        return True

    def _pulled(self, spec: Json, tries: int) -> Image:
        name = spec["image"]
        if not is_name(name):
            text = (
                f'Failed to apply default image tag "{name}": couldn\'t parse image name "{name}": '
                "invalid reference format"
            )
            self.kubelet.say(self, "Warning", "InspectFailed", text)
            raise NotStarted("InvalidImageName", text)
        image = self.kubelet.images.get(name)
        if image is not None:
            if not tries:
                text = f'Container image "{name}" already present on machine and can be accessed by the pod'
                self.kubelet.say(self, "Normal", "Pulled", text)
            return image
        if spec["imagePullPolicy"] == "Never":
            text = f'Container image "{name}" is not present with pull policy of Never'
            self.kubelet.say(self, "Warning", "ErrImageNeverPull", text)
            raise NotStarted("ErrImageNeverPull", text)
        why = (
            f'rpc error: code = NotFound desc = failed to pull and unpack image "{name}": '
            f"failed to resolve image: {name}: not found"
        )
        if tries % 2 == 0:
            self.kubelet.say(self, "Normal", "Pulling", f'Pulling image "{name}"')
            self.kubelet.say(self, "Warning", "Failed", f'Failed to pull image "{name}": {why}')
            self.kubelet.say(self, "Warning", "Failed", "Error: ErrImagePull")
            raise NotStarted("ErrImagePull", why)
        self.kubelet.say(self, "Normal", "BackOff", f'Back-off pulling image "{name}"')
        self.kubelet.say(self, "Warning", "Failed", "Error: ImagePullBackOff")
        raise NotStarted("ImagePullBackOff", f'Back-off pulling image "{name}": ErrImagePull: {why}')

    def _may_be_root(self, spec: Json, image: Image) -> None:
        own, whole = spec.get("securityContext") or {}, self.pod["spec"].get("securityContext") or {}
        user = own.get("runAsUser", whole.get("runAsUser", image.user))
        if own.get("runAsNonRoot", whole.get("runAsNonRoot")) and user == 0:
            who = f'pod: "{self.key.name}_{self.key.namespace}({self.uid})", container: {spec["name"]}'
            text = f"container has runAsNonRoot and image will run as root ({who})"
            self.kubelet.say(self, "Warning", "Failed", f"Error: {text}")
            raise NotStarted("CreateContainerConfigError", text)

    def _environment(self, spec: Json, image: Image) -> dict[str, str]:
        found = {"HOME": "/", "HOSTNAME": self.pod["spec"].get("hostname") or self.key.name} | image.environment
        paths = [str(POD_NETWORK), *filter(None, [image.environment.get("PYTHONPATH")])]
        found |= {"FEDYARD_TESTS_POD_ADDRESS": self.ip, "PYTHONPATH": os.pathsep.join(paths)}
        found |= self.kubelet.service_links(self.key.namespace, self.pod["spec"].get("enableServiceLinks", True))
        for source in spec.get("envFrom") or []:
            for kind, part in ((r.SECRETS, "secretRef"), (r.CONFIG_MAPS, "configMapRef")):
                if ref := source.get(part):
                    values = self._values(kind, ref["name"], optional=ref.get("optional", False))
                    found |= {(source.get("prefix") or "") + key: value.decode() for key, value in values.items()}
        for each in spec.get("env") or []:
            value = self._valued(each, spec) if each.get("valueFrom") else expanded(each.get("value") or "", found)
            if value is not None:
                found[each["name"]] = value
        return found

    def _values(self, kind: r.Resource, name: str, *, optional: bool) -> dict[str, bytes]:
        obj = self.kubelet.api.find(kind, self.key.namespace, name)
        if obj is None:
            if optional:
                return {}
            text = f'{kind.kind.lower()} "{name}" not found'
            self.kubelet.say(self, "Warning", "Failed", f"Error: {text}")
            raise NotStarted("CreateContainerConfigError", text)
        data = obj.get("data") or {}
        if kind is r.SECRETS:
            return {key: base64.b64decode(value) for key, value in data.items()}
        return {key: value.encode() for key, value in data.items()}

    def _valued(self, env: Json, spec: Json) -> str | None:
        source = env["valueFrom"]
        for kind, part in ((r.SECRETS, "secretKeyRef"), (r.CONFIG_MAPS, "configMapKeyRef")):
            if ref := source.get(part):
                values = self._values(kind, ref["name"], optional=ref.get("optional", False))
                if ref["key"] in values:
                    return values[ref["key"]].decode()
                if ref.get("optional"):
                    return None
                shown = "Secret" if kind is r.SECRETS else "ConfigMap"
                text = f"couldn't find key {ref['key']} in {shown} {self.key.namespace}/{ref['name']}"
                self.kubelet.say(self, "Warning", "Failed", f"Error: {text}")
                raise NotStarted("CreateContainerConfigError", text)
        if ref := source.get("fieldRef"):
            return self._field(ref["fieldPath"])
        if ref := source.get("resourceFieldRef"):
            part, _, name = ref["resource"].partition(".")
            amount = quantity(((spec.get("resources") or {}).get(part) or {}).get(name, "0"))
            return str(-(-amount // quantity(ref.get("divisor") or "1")))
        return ""

    def _field(self, path: str) -> str:
        fresh = {"podIP": self.ip, "podIPs": self.ip, "hostIP": self.kubelet.node_address(self.node), "hostIPs": ""}
        if path.startswith("status."):
            return fresh[path.partition(".")[2]]
        if found := re.match(r"^metadata\.(labels|annotations)\['(.+)'\]$", path):
            return str((self.pod["metadata"].get(found[1]) or {}).get(found[2], ""))
        at: Any = self.pod
        for part in path.split("."):
            at = at.get(part, "")
        return str(at)

    # ------------------------------------------------------------ volumes

    def _mounted(self, spec: Json, environment: dict[str, str]) -> dict[str, str]:
        """Where the folders of its mounts are, by mount path. One below another is a link in the other's folder."""
        volumes = {each["name"]: each for each in self.pod["spec"].get("volumes") or []}
        places: dict[str, str] = {}
        for mount in spec.get("volumeMounts") or []:
            folder = self._volume(volumes[mount["name"]])
            if sub := mount.get("subPath") or expanded(mount.get("subPathExpr") or "", environment):
                folder = folder / sub
                if not folder.exists():
                    folder.mkdir(parents=True)
            places[mount["mountPath"]] = str(folder)
            for outer, where in places.items():
                if mount["mountPath"].startswith(f"{outer}/"):
                    inner = Path(where) / mount["mountPath"][len(outer) + 1 :]
                    if not inner.exists():
                        inner.parent.mkdir(parents=True, exist_ok=True)
                        inner.symlink_to(folder)
        return places

    def _volume(self, volume: Json) -> Path:
        if claim := volume.get("persistentVolumeClaim"):
            return self.kubelet.claim_folder(self.key.namespace, claim["claimName"])
        folder = self.folder / "volumes" / volume["name"]
        folder.mkdir(parents=True, exist_ok=True)
        for kind, part, name in ((r.SECRETS, "secret", "secretName"), (r.CONFIG_MAPS, "configMap", "name")):
            if source := volume.get(part):
                obj = self.kubelet.api.find(kind, self.key.namespace, source[name])
                if obj is None and not source.get("optional"):
                    missing = f'{part.lower()} "{source[name]}" not found'
                    text = f'MountVolume.SetUp failed for volume "{volume["name"]}" : {missing}'
                    self.kubelet.say(self, "Warning", "FailedMount", text)
                    raise NotStarted("ContainerCreating", "")
                chosen = {item["key"]: item["path"] for item in source.get("items") or []}
                for key, value in self._values(kind, source[name], optional=True).items():
                    if not chosen or key in chosen:
                        target = folder / chosen.get(key, key)
                        target.parent.mkdir(parents=True, exist_ok=True)
                        target.write_bytes(value)
        return folder

    # ------------------------------------------------------------ probes, deadline

    def _probe_from(self, container: Container, running: Running) -> None:
        kinds = [kind for kind in ("startupProbe", "readinessProbe", "livenessProbe") if container.spec.get(kind)]
        if kinds:
            threading.Thread(target=self._probing, args=(container, running, kinds), daemon=True).start()

    def _probing(self, container: Container, running: Running, kinds: list[str]) -> None:
        """All its probes, more often than they say; what a failure leads to comes no sooner than they say."""
        probes = {kind: container.spec[kind] for kind in kinds}
        failing_since: dict[str, float] = {}
        while container.running is running and not self.told_to_stop:
            for kind, probe in probes.items():
                good = self._probe(container, probe)
                if good:
                    failing_since.pop(kind, None)
                elif kind not in failing_since:
                    failing_since[kind] = self.kubelet.api.clock.now()
                    self.kubelet.say(self, "Warning", "Unhealthy", f"{_WORDS[kind]} probe failed")
                self._judge(container, running, kind, failing_since.get(kind))
                if kind == "startupProbe" and not good:
                    break  # the others begin once it is up
                if kind == "startupProbe":
                    probes = {each: value for each, value in probes.items() if each != kind}
            with self.changed:
                self.changed.wait_for(
                    lambda: self.told_to_stop or container.running is not running, self.kubelet.probe_every_s
                )

    def _judge(self, container: Container, running: Running, kind: str, failing_since: float | None) -> None:
        """What follows from a probe that succeeded (None), or has failed since then."""
        if container.running is not running:
            return
        probe, clock = container.spec[kind], self.kubelet.api.clock
        patience_s = probe["failureThreshold"] * probe["periodSeconds"] + probe.get("initialDelaySeconds", 0)
        if kind == "readinessProbe":
            failed = failing_since is not None and clock.now() - failing_since >= 3 * self.kubelet.probe_every_s
            now = failing_since is None or (container.ready and not failed)
        else:
            now = container.ready
            if kind == "startupProbe" and failing_since is None:
                with self.changed:
                    container.started = True
                    self.changed.notify_all()
                now = now or not container.spec.get("readinessProbe")
            if failing_since is not None and clock.now() - failing_since >= patience_s:
                text = f"Container {container.spec['name']} failed {_WORDS[kind].lower()} probe, will be restarted"
                self.kubelet.say(self, "Normal", "Killing", text)
                running.terminate()
                self.kubelet.loop.at(clock.now() + self.pod["spec"]["terminationGracePeriodSeconds"], running.kill)
        if now != container.ready:
            container.ready = now
            self._tell()

    def _probe(self, container: Container, probe: Json) -> bool:
        timeout_s = float(probe["timeoutSeconds"])
        if command := (probe.get("exec") or {}).get("command"):
            image = self.kubelet.images[container.spec["image"]]
            environment = self._environment(container.spec, image)
            places = self._mounted(container.spec, environment)
            argv = [_mapped(part, places) for part in command]
            return exec_in(argv, environment, self.folder / container.spec["name"], timeout_s) == 0
        kind = probe.get("tcpSocket") or probe.get("httpGet") or {}
        address = (kind.get("host") or self.ip, _port(container.spec, kind.get("port")))
        try:
            if probe.get("httpGet"):
                url = f"http://{address[0]}:{address[1]}{kind.get('path', '/')}"
                with urllib.request.urlopen(url, timeout=timeout_s) as answer:
                    return bool(200 <= answer.status < 400)
            socket.create_connection(address, timeout_s).close()
        except OSError:
            return False
        return True

    def _watch_deadline(self) -> None:
        seconds = self.pod["spec"].get("activeDeadlineSeconds")
        if seconds is not None:
            when = (self.started_at_s or 0.0) + seconds
            self.kubelet.loop.at(when, self._past_deadline)

    def _past_deadline(self) -> None:
        if all(each.outcome is not None for each in self.containers if not each.init):
            return
        message = "Pod was active on the node longer than the specified deadline"
        self.kubelet.say(self, "Normal", "DeadlineExceeded", message)
        self.fail("DeadlineExceeded", message, self.pod["spec"]["terminationGracePeriodSeconds"])

    # ------------------------------------------------------------ status

    def over(self) -> bool:
        return all(each.running is None for each in self.containers)

    def _tell(self) -> None:
        if self.lost:
            return
        with self.kubelet.api.store.lock:
            obj = self.kubelet.api.store.get(self.key)
            if obj is None or obj["metadata"]["uid"] != self.uid or self.kubelet.is_away(self.node):
                return
            if not done(obj):
                self.kubelet.api.modify(self.key, self._write)

    def _write(self, obj: Json) -> None:
        now = self.kubelet.api.clock.stamp()
        status = obj["status"]
        status["startTime"] = stamp(self.started_at_s or 0.0)
        status["hostIP"] = self.kubelet.node_address(self.node)
        status["podIP"], status["podIPs"] = self.ip, [{"ip": self.ip}]
        inits = [each for each in self.containers if each.init]
        mains = [each for each in self.containers if not each.init]
        if inits:
            status["initContainerStatuses"] = [self._shown(each) for each in inits]
        status["containerStatuses"] = [self._shown(each) for each in mains]
        initialized = all(_is_initialized(each) for each in inits)
        if not initialized:
            for each in status["containerStatuses"]:
                if "waiting" in each["state"]:
                    each["state"]["waiting"]["reason"] = "PodInitializing"
        phase = self._phase(inits, mains)
        status["phase"] = phase
        if self.failed and phase in {"Failed", "Succeeded"}:
            status["phase"], (status["reason"], status["message"]) = "Failed", self.failed
        over = status["phase"] in {"Failed", "Succeeded"}
        ready = not over and all(each.ready for each in self.containers if not each.init or _is_sidecar(each))
        why = "PodCompleted" if phase == "Succeeded" else "PodFailed" if over else "ContainersNotReady"
        reason = "" if ready else why
        set_condition(obj, "PodReadyToStartContainers", "False" if over else "True", now)
        set_condition(
            obj,
            "Initialized",
            "True" if initialized else "False",
            now,
            "" if initialized else "ContainersNotInitialized",
        )
        set_condition(obj, "Ready", "True" if ready else "False", now, reason)
        set_condition(obj, "ContainersReady", "True" if ready else "False", now, reason)
        if self.failed and self.failed[0] == "Evicted":
            set_condition(obj, "DisruptionTarget", "True", now, "TerminationByKubelet", self.failed[1])

    def _phase(self, inits: list[Container], mains: list[Container]) -> str:
        if self.over() and self.told_to_stop and (self.failed or self.killed or any(c.outcome for c in mains)):
            good = all(each.outcome is not None and not each.outcome.code for each in mains)
            return "Succeeded" if good and not self.failed else "Failed"
        if any(each.outcome is not None and each.outcome.code and not _is_sidecar(each) for each in inits):
            return "Failed"
        if any(_is_sidecar(each) and each.running is not None for each in inits) and any(c.outcome for c in mains):
            return "Running"
        if all(each.outcome is not None for each in mains):
            return "Failed" if any(each.outcome and each.outcome.code for each in mains) else "Succeeded"
        if any(each.running or each.outcome or each.last for each in mains):
            return "Running"
        return "Pending"

    def _shown(self, container: Container) -> Json:
        where = f"containerd://{self.uid}-{container.spec['name']}-{container.restarts}"
        state: Json
        if container.outcome is not None:
            state = {"terminated": _terminated(container.outcome, where)}
        elif container.running is not None:
            state = {"running": {"startedAt": stamp(container.running.started_at_s)}}
        else:
            reason, message = container.waiting or ("ContainerCreating", "")
            state = {"waiting": {"reason": reason} | ({"message": message} if message else {})}
        started = container.running is not None and container.started
        shown = {
            "name": container.spec["name"],
            "state": state,
            "lastState": {"terminated": _terminated(container.last, where)} if container.last else {},
            "ready": container.ready
            or (container.init and container.outcome is not None and not container.outcome.code),
            "restartCount": container.restarts,
            "image": container.spec["image"],
            "imageID": f"{container.spec['image']}@sha256:{'0' * 64}" if container.running or container.outcome else "",
            "started": started,
        }
        if container.running or container.outcome:
            shown["containerID"] = where
        return shown


def _is_sidecar(container: Container) -> bool:
    return container.init and container.spec.get("restartPolicy") == "Always"


def _is_initialized(container: Container) -> bool:
    if _is_sidecar(container):
        return container.started or container.stopping
    return container.outcome is not None and not container.outcome.code


def _terminated(outcome: Outcome, where: str) -> Json:
    shown: Json = {
        "exitCode": outcome.code,
        "reason": outcome.reason,
        "startedAt": EPOCH if outcome.started_at_s is None else stamp(outcome.started_at_s),
        "finishedAt": stamp(outcome.ended_at_s),
        "containerID": where,
    }
    return shown | ({"message": outcome.message} if outcome.message else {})


def _not_found(argv: list[str]) -> str:
    where = "stat" if "/" in argv[0] else "exec"
    why = "no such file or directory" if "/" in argv[0] else "executable file not found in $PATH"
    return (
        "failed to create containerd task: failed to create shim task: OCI runtime create failed: runc create failed: "
        f'unable to start container process: error during container init: {where}: "{argv[0]}": {why}'
    )


def _mapped(text: str, places: dict[str, str]) -> str:
    """With mount paths put in place by the folders that stand for them."""
    folders = {path.rstrip("/"): folder for path, folder in places.items()}
    if not folders:
        return text
    # All at once: a folder may have another mount's path in its own.
    longest_first = "|".join(re.escape(path) for path in sorted(folders, key=len, reverse=True))
    return re.sub(rf"(?<![\w./-])(?:{longest_first})(?![\w.-])", lambda found: folders[found[0]], text)


def _command(
    spec: Json, image: Image, environment: dict[str, str], places: dict[str, str]
) -> tuple[list[str], dict[str, str]]:
    command = spec.get("command") or list(image.entrypoint)
    arguments = spec.get("args") or ([] if spec.get("command") else list(image.command))
    argv = [_mapped(expanded(part, environment), places) for part in command + arguments]
    said = {each["name"] for each in spec.get("env") or []}
    return argv, {key: _mapped(value, places) if key in said else value for key, value in environment.items()}


def _port(spec: Json, port: Any) -> int:
    if isinstance(port, int):
        return port
    return next(int(each["containerPort"]) for each in spec.get("ports") or [] if each.get("name") == port)
