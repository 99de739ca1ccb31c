"""The health check of the MLflow server: it must ask for a password at each name by which clients call it.

/health alone would not do: it is answered while every request of a client is refused for its host name (403), and
while nobody is asked for a password (200).
"""

from __future__ import annotations

import http.client
import os
import sys


def main() -> int:
    """Return 0 if the server is healthy, and say otherwise why it is not."""
    for host in os.environ.get("MLFLOW_SERVER_ALLOWED_HOSTS", "localhost:5000").split(","):
        connection = http.client.HTTPConnection("127.0.0.1", 5000, timeout=4)
        connection.request("GET", "/api/2.0/mlflow/experiments/get?experiment_id=0", headers={"Host": host})
        status = connection.getresponse().status
        connection.close()
        if status != 401:
            print(f"A request to {host} without a password was answered with {status}, not with 401.")
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
