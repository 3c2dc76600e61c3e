package lease

// Decide says what is to be done with a server at now. It is to be asked at
// Decision.Next at the latest, and whenever something was heard or seen.
func (l *Lease) Decide(now Instant, server Server) Decision {
	if l.book.Fence == nil {
		until := l.until(now)
		if now < l.begin(until) {
			return l.hold(until)
		}
		if !l.book.Held {
			return Decision{Action: Unleased, Next: Never, Reason: "no majority of the controllers has granted a lease yet"}
		}
		l.fence(now)
	}
	if until := l.granted(l.book.Fence.At + 1); now < l.begin(until) {
		l.book.Fence = nil
		return l.hold(until)
	}
	return l.stand(now, server)
}

// stand says what a standing fence asks for. Somebody who makes the server
// writable behind it, or starts it so, meets the same fence again.
func (l *Lease) stand(now Instant, server Server) Decision {
	stand := l.book.Fence
	if server == Silent && stand.ReadOnly {
		server = ReadOnly
	}
	switch {
	case server != Silent && server != Writable:
		stand.Settled, stand.ReadOnly = true, server == ReadOnly
		return Decision{Action: Fenced, Next: Never, Reason: stand.Why}
	case stand.Settled:
		stand.Settled, stand.ReadOnly, stand.By = false, false, now.Add(l.cfg.Fence)
	}
	if now < stand.By {
		return Decision{Action: Fence, By: stand.By, Next: stand.By, Reason: stand.Why}
	}
	return Decision{Action: Kill, By: now, Next: now, Reason: stand.Why +
		"; it takes writes, or does not say that it takes none, after its time"}
}

// until returns when the lease ends that is held at now. Peers keep a lease,
// and neither begin one nor bring one back that has ended.
func (l *Lease) until(now Instant) Instant {
	until := l.granted(0)
	if now < l.book.Until {
		until = max(until, l.followed())
	}
	return until
}

// begin is when a fence must begin to be done, one way or the other, before
// until.
func (l *Lease) begin(until Instant) Instant {
	return until.Add(-l.cfg.Longest())
}

// hold writes down that the lease is held until then.
func (l *Lease) hold(until Instant) Decision {
	reason := "a majority of the controllers grants it"
	if granted := l.granted(0); granted == until {
		l.book.For = l.shortest()
	} else {
		reason = "a majority of the cluster's database sidecars follow it; of the controllers no majority grants it for as long"
	}
	l.book.Held, l.book.Until = true, until
	return Decision{Action: Hold, Until: until, Next: l.begin(until), Reason: reason}
}

// fence writes down that the server is fenced from now on.
func (l *Lease) fence(now Instant) {
	why := "neither a majority of the controllers nor one of the cluster's database sidecars was heard in time"
	switch {
	case l.deposed():
		why = "the controllers have deposed it"
	case l.refused():
		why = "a majority of the controllers refuses it a lease"
	}
	// What was held ends when it was said to, however late this is decided.
	by := min(now.Add(l.cfg.Fence), l.book.Until.Add(-l.cfg.Kill))
	l.book.Fence = &Stand{At: now, By: by, Why: "fenced: " + why}
}

func (l *Lease) refused() bool {
	n := 0
	for _, v := range l.book.Voices {
		if v.For == 0 {
			n++
		}
	}
	return n >= majority(len(l.cfg.Controllers))
}
