"""A stand-in for Twilio's WhatsApp messaging that behaves, fails and calls back as Twilio does."""

from twilio_simulator.client import AcceptedMessage, SimulatorClient
from twilio_simulator.faults import Fault, FaultKind
from twilio_simulator.running import running_simulator

__all__ = ["AcceptedMessage", "Fault", "FaultKind", "SimulatorClient", "running_simulator"]
