// Holds one event stream for every tab; it ends when the last tab has gone.
const NAMES = ["counts", "run", "model"];
const ports = new Set();
let source = null;

function say(what) {
  for (const port of ports) port.postMessage(what);
}

let pause = 5000; // before the next try, where the browser does not try again by itself
let retry = 0;

function open(url) {
  clearTimeout(retry);
  source = new EventSource(url);
  source.onopen = () => {
    pause = 5000;
    say({ connected: true });
  };
  source.onerror = () => {
    say({ connected: false });
    if (source.readyState !== EventSource.CLOSED) return;
    source = null; // an answer that is no stream: signed out, or a proxy whose service starts again
    retry = setTimeout(() => { if (ports.size > 0 && !source) open(url); }, pause);
    pause = Math.min(2 * pause, 60000);
  };
  for (const name of NAMES) source.addEventListener(name, () => say({ name }));
}

onconnect = (event) => {
  const port = event.ports[0];
  port.onmessage = ({ data }) => {
    if (data.close) ports.delete(port);
    if (data.close && ports.size === 0) {
      source?.close();
      source = null;
    }
    if (!data.open) return;
    ports.add(port);
    if (!source) open(data.open);
    else if (source.readyState === EventSource.OPEN) port.postMessage({ connected: true });
  };
};
