"""`python two_nodes.py`: a Ray cluster of two nodes on 127.0.0.1, until standard input ends.

Each node is a process group of its own. Prints the cluster's address. A line `lose` on standard input kills the second
node; a line `add` starts another.
"""

import os
import sys

os.environ |= {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "RAY_process_group_cleanup_enabled": "1"}
os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_MODE": "token"}

from ray.cluster_utils import Cluster


def main() -> None:
    """Start the nodes, and obey."""
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    second = cluster.add_node(num_cpus=1)
    print(f"address {cluster.address}", flush=True)
    for line in sys.stdin:
        if line.strip() == "lose":
            cluster.remove_node(second, allow_graceful=False)
        if line.strip() == "add":
            second = cluster.add_node(num_cpus=1)
        print(line.strip(), flush=True)
    cluster.shutdown()


if __name__ == "__main__":
    main()
