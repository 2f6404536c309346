"""A Ray cluster of one head and two nodes of one core; obeys address, kill and add on standard input."""

import sys

from ray.cluster_utils import Cluster


def main() -> None:
    cluster = Cluster(
        initialize_head=True,
        head_node_args={"num_cpus": 0, "include_dashboard": False, "object_store_memory": 100 * 2**20},
    )
    nodes = [cluster.add_node(num_cpus=1, object_store_memory=100 * 2**20) for _ in range(2)]
    for line in sys.stdin:
        if line.strip() == "kill":
            cluster.remove_node(nodes.pop(), allow_graceful=False)
            answer = "killed"
        elif line.strip() == "add":
            nodes.append(cluster.add_node(num_cpus=1, object_store_memory=100 * 2**20, wait=False))
            answer = "added"
        else:
            answer = cluster.address
        print(answer, flush=True)  # noqa: T201
    cluster.shutdown()


if __name__ == "__main__":
    main()
