// Drives the official clients of Unsplash and Pexels against the sandbox and prints what they understood as JSON.
// Usage: node clients.mjs BASE_URL KEY MODULES_FOLDER
import { createRequire } from "node:module";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

const [base, key, modules] = process.argv.slice(2);
const require = createRequire(pathToFileURL(join(modules, "package.json")));
const { createApi } = await import(pathToFileURL(join(modules, "node_modules/unsplash-js/dist/index.mjs")));

async function unsplash() {
  const client = createApi({ accessKey: key, baseUrl: `${base}/unsplash` });
  const get = async (path, params = {}) => {
    const { data, error, response } = await client.GET(path, { params });
    return { data, error, status: response.status, headers: Object.fromEntries(response.headers) };
  };
  const search = await get("/search/photos", { query: { query: "street", page: 1, per_page: 3, orientation: "portrait" } });
  const first = search.data.results[0];
  const tracking = new URL(first.links.download_location);
  const stranger = createApi({ accessKey: "wrong", baseUrl: `${base}/unsplash` });
  const refused = await stranger.GET("/photos", { params: { query: {} } });
  return {
    search,
    second: await get("/search/photos", { query: { query: "street", page: 2, per_page: 3, orientation: "portrait" } }),
    feed: await get("/photos", { query: { page: 1, per_page: 2 } }),
    random: await get("/photos/random", { query: { count: 2 } }),
    one: await get("/photos/random", { query: {} }),
    photo: await get("/photos/{assetSlug}", { path: { assetSlug: first.slug } }),
    missing: await get("/photos/{assetSlug}", { path: { assetSlug: "no-such-photo" } }),
    download: await get("/photos/{assetSlug}/download", {
      path: { assetSlug: first.id },
      query: Object.fromEntries(tracking.searchParams),
    }),
    refused: { status: refused.response.status, error: refused.error },
  };
}

async function pexels() {
  // the client has its host built in: only the host is replaced, what it asks for stays its own
  const real = globalThis.fetch;
  const asked = [];
  globalThis.fetch = (url, options) => {
    asked.push(url);
    return real(url.replace("https://api.pexels.com", `${base}/pexels`), options);
  };
  const { createClient } = require("pexels");
  const client = createClient(key);
  const search = await client.photos.search({ query: "street", per_page: 3, page: 1 });
  return {
    asked,
    search,
    last: await client.photos.search({ query: "street", per_page: 3, page: 99 }),
    curated: await client.photos.curated({ per_page: 2 }),
    photo: await client.photos.show({ id: search.photos[0].id }),
    missing: await client.photos.show({ id: 1 }).catch((error) => String(error)),
    refused: await createClient("wrong").photos.curated().catch((error) => String(error)),
  };
}

console.log(JSON.stringify({ unsplash: await unsplash(), pexels: await pexels() }));
