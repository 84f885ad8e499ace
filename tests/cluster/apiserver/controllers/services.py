"""Services: their addresses and ports, the EndpointSlices behind them, and what kube-proxy does."""

from __future__ import annotations

import contextlib
import itertools
import selectors
import socket
import threading
from typing import Any

from tests.cluster.apiserver import resources as r
from tests.cluster.apiserver.api import Api
from tests.cluster.apiserver.controllers.pods_of import done, ending, ready, reference
from tests.cluster.apiserver.errors import ApiError, bad_value, invalid
from tests.cluster.apiserver.selectors import matches_labels
from tests.cluster.apiserver.store import Key, copied

Json = dict[str, Any]
_addresses, _ports = itertools.count(), itertools.count()
"""Of services of all servers of this process."""
_SERVICE = "kubernetes.io/service-name"


class Services:
    """Addresses are this machine's own (127.x.y.z), so that they connect: as long as an endpoint is ready."""

    def __init__(self, api: Api, second: int) -> None:
        self._api, self._second = api, second
        self._proxies: dict[tuple[str, int], Proxy] = {}
        self._of: dict[Key, list[tuple[str, int]]] = {}

    # ------------------------------------------------------------ addresses, under the store's lock

    def address(self, new: Json, old: Json | None) -> None:
        """In place: what the API server allocates; 422 for a port that another has."""
        spec, kind = new["spec"], new["spec"]["type"]
        if kind == "ExternalName":
            return
        if not spec.get("clusterIP"):
            number = next(_addresses)
            spec["clusterIP"] = f"127.{self._second}.{200 + number // 250 % 50}.{number % 250 + 2}"
        spec["clusterIPs"] = [spec["clusterIP"]]
        taken = self._taken(new)
        for number, port in enumerate(spec.get("ports") or []):
            if kind == "ClusterIP":
                port.pop("nodePort", None)
            elif not port.get("nodePort"):
                port["nodePort"] = self._free_port(taken)
            elif port["nodePort"] in taken:
                where, why = f"spec.ports[{number}].nodePort", "provided port is already allocated"
                raise invalid(r.SERVICES, new["metadata"]["name"], [bad_value(where, port["nodePort"], why)])
            taken.add(port.get("nodePort", 0))
        if old is None:
            new["status"] = {"loadBalancer": {}}

    def _taken(self, new: Json) -> set[int]:
        others = (s for s in self._api.store.all(r.SERVICES) if s["metadata"]["uid"] != new["metadata"]["uid"])
        return {port["nodePort"] for each in others for port in each["spec"].get("ports") or [] if port.get("nodePort")}

    def _free_port(self, taken: set[int]) -> int:
        for _ in range(2767):
            port = 30000 + (self._second * 12 + next(_ports)) % 2768
            if port not in taken and _can_listen(port):
                return port
        raise ApiError(500, "InternalError", "range is full", {})

    def links(self, namespace: str) -> dict[str, str]:
        """What a new container's environment says of the services of its namespace."""
        found = {"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": "443"}
        for service in self._api.store.all(r.SERVICES, namespace) if namespace else []:
            spec = service["spec"]
            if spec.get("clusterIP") in {None, "None"} or not spec.get("ports"):
                continue
            name = service["metadata"]["name"].upper().replace("-", "_")
            first = spec["ports"][0]
            found |= {f"{name}_SERVICE_HOST": spec["clusterIP"], f"{name}_SERVICE_PORT": str(first["port"])}
            found[f"{name}_PORT"] = f"tcp://{spec['clusterIP']}:{first['port']}"
        return found

    # ------------------------------------------------------------ endpoints

    def sync(self, key: Key) -> None:
        service = self._api.store.get(key)
        if service is None or ending(service) or not service["spec"].get("selector"):
            if service is None:
                self._listen(key, {})
            return
        chosen = {"matchLabels": service["spec"]["selector"]}
        pods = [
            pod
            for pod in self._api.store.all(r.PODS, key.namespace)
            if matches_labels(chosen, pod["metadata"].get("labels")) and pod["status"].get("podIP") and not done(pod)
        ]
        loose = service["spec"].get("publishNotReadyAddresses", False)
        self._write(key, service, pods, loose=loose)
        good = [pod for pod in pods if (ready(pod) or loose) and not ending(pod)]
        self._listen(key, _routes(service, good, [n["status"]["addresses"][0]["address"] for n in self._nodes()]))

    def _nodes(self) -> list[Json]:
        return [node for node in self._api.store.all(r.NODES) if node["status"].get("addresses")]

    def _write(self, key: Key, service: Json, pods: list[Json], *, loose: bool) -> None:
        shown = [_endpoint(pod, service, loose=loose) for pod in pods]
        ports = [
            {"name": port.get("name", ""), "port": number, "protocol": port["protocol"]}
            for port in service["spec"].get("ports") or []
            if (number := _target(port, pods[0] if pods else None)) is not None
        ]
        slice_key = Key(r.SLICES, key.namespace, f"{key.name}-tests")
        content = {"addressType": "IPv4", "endpoints": shown, "ports": ports}
        if self._api.store.get(slice_key) is None:
            labels = {_SERVICE: key.name, "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io"}
            meta = {"name": slice_key.name, "labels": labels, "ownerReferences": [reference(service)]}
            self._api.create(
                r.SLICES, key.namespace, {"metadata": meta} | copied(content), manager="kube-controller-manager"
            )
        else:
            self._api.modify(slice_key, lambda obj: obj.update(copied(content)))
        self._write_endpoints(key, shown, ports)

    def _write_endpoints(self, key: Key, shown: list[Json], ports: list[Json]) -> None:
        def addresses(*, good: bool) -> list[Json]:
            return [
                {"ip": e["addresses"][0], "targetRef": e["targetRef"]}
                for e in shown
                if e["conditions"]["ready"] is good
            ]

        subset = {"ports": ports}
        for name, good in (("addresses", True), ("notReadyAddresses", False)):
            if found := addresses(good=good):
                subset[name] = found
        subsets = [subset] if shown else []
        whole = Key(r.ENDPOINTS, key.namespace, key.name)
        if self._api.store.get(whole) is None:
            body = {"metadata": {"name": key.name}, "subsets": copied(subsets)}
            self._api.create(r.ENDPOINTS, key.namespace, body, manager="kube-controller-manager")
        else:
            self._api.modify(whole, lambda obj: obj.update(subsets=copied(subsets)))

    def forget(self, key: Key) -> None:
        """The Endpoints of a Service that is gone."""
        if self._api.find(r.ENDPOINTS, key.namespace, key.name) is not None:
            self._api.delete(r.ENDPOINTS, key.namespace, key.name)

    # ------------------------------------------------------------ kube-proxy

    def _listen(self, key: Key, routes: dict[tuple[str, int], list[tuple[str, int]]]) -> None:
        for address in self._of.pop(key, []):
            if address not in routes and address in self._proxies:
                self._proxies.pop(address).close()
        self._of[key] = list(routes)
        for address, targets in routes.items():
            if address in self._proxies:
                self._proxies[address].targets = targets
            else:
                with contextlib.suppress(OSError):  # a program listens on every address: it answers there itself
                    self._proxies[address] = Proxy(address, targets)

    def close(self) -> None:
        for each in self._proxies.values():
            each.close()


def _routes(service: Json, pods: list[Json], nodes: list[str]) -> dict[tuple[str, int], list[tuple[str, int]]]:
    """Where something has to listen, and where that leads."""
    found: dict[tuple[str, int], list[tuple[str, int]]] = {}
    spec = service["spec"]
    for port in spec.get("ports") or []:
        targets = [(pod["status"]["podIP"], number) for pod in pods if (number := _target(port, pod)) is not None]
        if not targets or port["protocol"] != "TCP":
            continue
        if spec.get("clusterIP") not in {None, "None"}:
            found[spec["clusterIP"], port["port"]] = targets
        if port.get("nodePort"):
            for address in ["127.0.0.1", *nodes]:
                found[address, port["nodePort"]] = targets
    return found


def _target(port: Json, pod: Json | None) -> int | None:
    wanted = port.get("targetPort", port["port"])
    if isinstance(wanted, int):
        return wanted
    named = [each for c in (pod["spec"]["containers"] if pod else []) for each in c.get("ports") or []]
    return next((int(each["containerPort"]) for each in named if each.get("name") == wanted), None)


def _endpoint(pod: Json, service: Json, *, loose: bool) -> Json:
    meta = pod["metadata"]
    good = ready(pod)
    shown: Json = {
        "addresses": [pod["status"]["podIP"]],
        "conditions": {
            "ready": (good and not ending(pod)) or loose,
            "serving": good,
            "terminating": ending(pod),
        },
        "nodeName": pod["spec"]["nodeName"],
        "targetRef": {"kind": "Pod", "namespace": meta["namespace"], "name": meta["name"], "uid": meta["uid"]},
    }
    if pod["spec"].get("hostname") and pod["spec"].get("subdomain") == service["metadata"]["name"]:
        shown["hostname"] = pod["spec"]["hostname"]
    return shown


def _can_listen(port: int) -> bool:
    with socket.socket() as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


class Proxy:
    """One address that leads to ready pods, in turn. targets may be changed."""

    def __init__(self, address: tuple[str, int], targets: list[tuple[str, int]]) -> None:
        """OSError: something listens there."""
        self.targets = targets
        self._turn = 0
        self._socket = socket.create_server(address, backlog=64)
        threading.Thread(target=self._accept, name=f"proxy {address}", daemon=True).start()

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def _accept(self) -> None:
        while True:
            try:
                inside, _ = self._socket.accept()
            except OSError:
                return
            threading.Thread(target=self._carry, args=(inside,), daemon=True).start()

    def _carry(self, inside: socket.socket) -> None:
        self._turn += 1
        with inside, contextlib.suppress(OSError, IndexError):
            target = self.targets[self._turn % len(self.targets)] if self.targets else ("", 0)
            with socket.create_connection(target, 5) as outside, selectors.DefaultSelector() as both:
                both.register(inside, selectors.EVENT_READ, outside)
                both.register(outside, selectors.EVENT_READ, inside)
                while both.get_map():
                    for key, _ in both.select():
                        data = key.fileobj.recv(65536)
                        if data:
                            key.data.sendall(data)
                        else:
                            both.unregister(key.fileobj)
                            key.data.shutdown(socket.SHUT_WR)
