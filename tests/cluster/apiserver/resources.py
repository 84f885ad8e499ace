"""Which resources the server has: one table."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, eq=False)
class Resource:
    """One resource. orphans: deleted without a policy it leaves its dependents alone. answers_object: an immediate
    deletion answers with the object, not with a `Status`. spec_counts: a change of `spec` is a new generation."""

    group: str
    version: str
    plural: str
    kind: str
    namespaced: bool = True
    subresources: tuple[str, ...] = ()
    orphans: bool = False
    answers_object: bool = False
    spec_counts: bool = False
    field_selectors: tuple[str, ...] = ()
    collection_deletes: bool = True

    @property
    def qualified(self) -> str:
        """As messages name it: `jobs.batch`, `pods`."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def schema(self) -> str:
        """Its name among the definitions of OpenAPI."""
        room = self.group.split(".")[0] if self.group else "core"
        return f"io.k8s.api.{room}.{self.version}.{self.kind}"


_POD_FIELDS = (
    "spec.nodeName",
    "spec.restartPolicy",
    "spec.schedulerName",
    "spec.serviceAccountName",
    "spec.hostNetwork",
    "status.phase",
    "status.podIP",
    "status.nominatedNodeName",
)
_EVENT_FIELDS = (
    "involvedObject.kind",
    "involvedObject.namespace",
    "involvedObject.name",
    "involvedObject.uid",
    "involvedObject.apiVersion",
    "involvedObject.resourceVersion",
    "involvedObject.fieldPath",
    "reason",
    "reportingComponent",
    "source",
    "type",
)
_RBAC = "rbac.authorization.k8s.io"

NAMESPACES = Resource(
    "",
    "v1",
    "namespaces",
    "Namespace",
    namespaced=False,
    subresources=("status", "finalize"),
    answers_object=True,
    field_selectors=("status.phase",),
    collection_deletes=False,
)
NODES = Resource(
    "",
    "v1",
    "nodes",
    "Node",
    namespaced=False,
    subresources=("status",),
    field_selectors=("spec.unschedulable",),
)
PODS = Resource(
    "",
    "v1",
    "pods",
    "Pod",
    subresources=("status", "log", "eviction"),
    answers_object=True,
    spec_counts=True,
    field_selectors=_POD_FIELDS,
)
SERVICES = Resource("", "v1", "services", "Service", subresources=("status",), answers_object=True)
ENDPOINTS = Resource("", "v1", "endpoints", "Endpoints")
SECRETS = Resource("", "v1", "secrets", "Secret", field_selectors=("type",))
CONFIG_MAPS = Resource("", "v1", "configmaps", "ConfigMap")
SERVICE_ACCOUNTS = Resource("", "v1", "serviceaccounts", "ServiceAccount", subresources=("token",), answers_object=True)
CLAIMS = Resource(
    "", "v1", "persistentvolumeclaims", "PersistentVolumeClaim", subresources=("status",), answers_object=True
)
VOLUMES = Resource(
    "",
    "v1",
    "persistentvolumes",
    "PersistentVolume",
    namespaced=False,
    subresources=("status",),
    answers_object=True,
)
QUOTAS = Resource("", "v1", "resourcequotas", "ResourceQuota", subresources=("status",), answers_object=True)
LIMIT_RANGES = Resource("", "v1", "limitranges", "LimitRange")
EVENTS = Resource("", "v1", "events", "Event", field_selectors=_EVENT_FIELDS)
JOBS = Resource(
    "batch",
    "v1",
    "jobs",
    "Job",
    subresources=("status",),
    orphans=True,
    spec_counts=True,
    field_selectors=("status.successful",),
)
DEPLOYMENTS = Resource("apps", "v1", "deployments", "Deployment", subresources=("status", "scale"), spec_counts=True)
REPLICA_SETS = Resource(
    "apps",
    "v1",
    "replicasets",
    "ReplicaSet",
    subresources=("status", "scale"),
    spec_counts=True,
    field_selectors=("status.replicas",),
)
STATEFUL_SETS = Resource(
    "apps", "v1", "statefulsets", "StatefulSet", subresources=("status", "scale"), spec_counts=True
)
REVISIONS = Resource("apps", "v1", "controllerrevisions", "ControllerRevision")
SLICES = Resource("discovery.k8s.io", "v1", "endpointslices", "EndpointSlice")
POLICIES = Resource("networking.k8s.io", "v1", "networkpolicies", "NetworkPolicy", spec_counts=True)
ROLES = Resource(_RBAC, "v1", "roles", "Role")
BINDINGS = Resource(_RBAC, "v1", "rolebindings", "RoleBinding")
CLUSTER_ROLES = Resource(_RBAC, "v1", "clusterroles", "ClusterRole", namespaced=False)
CLUSTER_BINDINGS = Resource(_RBAC, "v1", "clusterrolebindings", "ClusterRoleBinding", namespaced=False)
LEASES = Resource("coordination.k8s.io", "v1", "leases", "Lease")
DISRUPTION_BUDGETS = Resource(
    "policy", "v1", "poddisruptionbudgets", "PodDisruptionBudget", subresources=("status",), spec_counts=True
)

ALL = (
    NAMESPACES,
    NODES,
    PODS,
    SERVICES,
    ENDPOINTS,
    SECRETS,
    CONFIG_MAPS,
    SERVICE_ACCOUNTS,
    CLAIMS,
    VOLUMES,
    QUOTAS,
    LIMIT_RANGES,
    EVENTS,
    JOBS,
    DEPLOYMENTS,
    REPLICA_SETS,
    STATEFUL_SETS,
    REVISIONS,
    SLICES,
    POLICIES,
    ROLES,
    BINDINGS,
    CLUSTER_ROLES,
    CLUSTER_BINDINGS,
    LEASES,
    DISRUPTION_BUDGETS,
)
BY_PATH = {(each.group, each.plural): each for each in ALL}
BY_KIND = {(each.api_version, each.kind): each for each in ALL}
