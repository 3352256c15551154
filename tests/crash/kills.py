"""kill -9, again and again: under load, during start-up and recovery, and during a graceful stop."""

from crashes import Crashes, in_logs



def kill_loops(lab, report, kills, kills_per_log, look_every):
    """As many kills as asked for; the log is judged after every `look_every`, and at its end."""
    with report.trial("kill -9", "Killed at any moment, the process loses nothing it acknowledged.") as trial, lab.stack() as stack:
        for log in in_logs(stack, lambda number, heavy: Crashes(lab, trial, f"kills-{number}", heavy), kills, kills_per_log):
            kill = log.gateway.kill
            log.strike(kill, look=log.crashes % look_every == 0)
