"""
The rules of docs/limits.md, one after another.
"""

from twisted_tcpdemo import TCPDemoFactory

factory = TCPDemoFactory(maxConnections=100)
factory.maxConnections = 50  # closes nobody; 51 must go before one comes in
factory.maxConnections = 0  # nobody
factory.maxConnections = None  # no limit of its own


from twisted_tcpdemo import (
    Admission,
    DeniedNetworks,
    PeerRate,
    PerPeerLimit,
)

perPeer = PerPeerLimit(20)
factory.admission = Admission(
    DeniedNetworks("203.0.113.0/24", "2001:db8:bad::/48"),
    perPeer,
    PeerRate(5, burst=20),
    exempt=["127.0.0.0/8", "::1", "10.1.0.0/16"],
)
perPeer.limit = 10  # while it runs; closes nobody


trial = Admission(PerPeerLimit(3), PeerRate(1, burst=5), dryRun=True)
factory.admission = trial
# a day later
print(dict(trial.wouldRefuse))  # {"perPeerLimit": 12}
trial.dryRun = False  # from now on it is meant


from twisted_tcpdemo import Rule


class OfficeHours(Rule):
    name = "officeHours"

    def __init__(self, isOpen):
        super().__init__()
        self.isOpen = isOpen

    def decide(self, host, peer, now):
        return None if self.isOpen() else self.name


factory.admission = Admission(OfficeHours(lambda: True), PerPeerLimit(20))


from twisted_tcpdemo import ConnectionObserver, Watermarks


class Alarm(ConnectionObserver):
    def watermarkCrossed(self, crossing):
        if crossing.above:
            print(f"{crossing.connectionCount} of {crossing.limit}")


factory.watermarks = Watermarks([0.8, 1.0], hysteresis=0.05, cooldown=5)
factory.addObserver(Alarm())


assert factory.conservation() == []

print("all set")
