"""Where cells run, and what MLflow keeps of them."""

import os

os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"  # read when mlflow is imported
os.environ["DO_NOT_TRACK"] = "true"
os.environ["MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT"] = "true"  # two lines a run, with the login of the address
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")  # by default a wrong address is tried for minutes
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "15")
