"""The decisions of a rollout: functions of what is known, without input or output."""
