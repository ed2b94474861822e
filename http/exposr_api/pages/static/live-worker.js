// Holds one event stream for every tab; it ends when the last tab has gone.
const NAMES = ["counts", "run", "model"];
const ports = new Set();
let source = null;

function say(what) {
  for (const port of ports) port.postMessage(what);
}

function open(url) {
  source = new EventSource(url);
  source.onopen = () => say({ connected: true });
  source.onerror = () => {
    say({ connected: false });
    if (source.readyState === EventSource.CLOSED) source = null; // refused: signed out
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
