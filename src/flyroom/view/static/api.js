// Pages of JSON by name. In a bundle they are files; in the app they may be asked, too.

const KEY = "flyroom-token";

function takeToken() {
  const url = new URL(location.href);
  const token = url.searchParams.get("token");
  if (token) {
    sessionStorage.setItem(KEY, token); // and out of the address, so that no link that is copied holds it
    url.searchParams.delete("token");
    history.replaceState(null, "", url);
  }
  return token ?? sessionStorage.getItem(KEY);
}

const token = takeToken();

export class Refusal extends Error {
  constructor(message, need, status) {
    super(message);
    this.need = need;
    this.status = status;
  }
}

async function call(address, init) {
  const headers = { ...(init?.headers ?? {}), ...(token ? { authorization: `Bearer ${token}` } : {}) };
  let answer;
  try {
    answer = await fetch(address, { ...init, headers, cache: "no-store" });
  } catch {
    throw new Refusal("the server does not answer; is flyroom view still running?", "server", 0);
  }
  let content;
  try {
    content = await answer.json();
  } catch {
    throw new Refusal(answer.status === 404 ? "there is no such page here" : `the server answered ${answer.status}, and no page`, "", answer.status);
  }
  if (!answer.ok) {
    const text = content.error?.message ?? content.error ?? `status ${answer.status}`;
    throw new Refusal(text, content.need ?? "", answer.status);
  }
  return content;
}

const path = (name) => name.split("/").map(encodeURIComponent).join("/");

export function get(name, query) {
  const search = query && Object.keys(query).length ? `?${new URLSearchParams(query)}` : "";
  return call(`data/${path(name)}.json${search}`);
}

export function post(name, body) {
  const init = { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body) };
  return call(`ask/${path(name)}`, init);
}
