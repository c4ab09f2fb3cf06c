"""The plugins of supervisord and supervisorctl, whose configurations name this package."""

from release_agent.plugin.rpcinterface import make_rpcinterface
from release_agent.plugin.supervisorctl import make_controller

__all__ = ["make_controller", "make_rpcinterface"]
