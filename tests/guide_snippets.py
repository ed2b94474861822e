"""The integration guide's own Python, word for word: every test that runs it takes it from here."""

MODEL_INFO = """
from trainer.model_sync import push_latest_model, get_model_path
from utils.config_loader import load_config

config = load_config()

# Get latest model info
model_info = push_latest_model(config)
"""

USAGE = """
import os
import requests

url = os.getenv("EXPOSR_TRAINER_URL")
api_key = os.getenv("EXPOSR_TRAINER_API_KEY")

headers = {"Authorization": f"Bearer {api_key}"}

# Get metrics
response = requests.get(f"{url}/metrics", headers=headers)
metrics = response.json()
"""

EXAMPLE = """
# In Exposr-Core
import requests
import os
from pathlib import Path

TRAINER_URL = os.getenv("EXPOSR_TRAINER_URL", "http://localhost:8001")
TRAINER_API_KEY = os.getenv("EXPOSR_TRAINER_API_KEY", "test_api_key")

headers = {"Authorization": f"Bearer {TRAINER_API_KEY}"}

# Check for new models
def check_for_new_model(current_version: str = "v1"):
    response = requests.get(f"{TRAINER_URL}/metrics", headers=headers)
    metrics = response.json()

    if metrics["models_trained"] > 0:
        # Check if new version
        latest_time = metrics["last_training"]
        # Compare with current model timestamp
        # If newer, download new model

# Download model
def download_latest_model():
    # Get model info
    response = requests.get(f"{TRAINER_URL}/models/latest", headers=headers)
    model_info = response.json()

    # Download weights from models/vit/{version}/weights.pt
    # Load into Exposr-Core

    pass
"""
