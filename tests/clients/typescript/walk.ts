// Signs in, lists orders, gets one and writes a draft, with nothing but the types that the document comes to.

import createClient from "openapi-fetch";
import type { components, paths } from "./api.js";

declare const process: { env: Record<string, string | undefined> };

function given(name: string): string {
  const value = process.env[name];
  if (value === undefined) throw new Error(`${name} is not set`);
  return value;
}

function answered<T>({ data, error }: { data?: T; error?: unknown }): T {
  if (data === undefined) throw new Error(JSON.stringify(error));
  return data;
}

const baseUrl = given("BASE");
const body = { email: given("EMAIL"), password: given("PASSWORD") };
const token = answered(await createClient<paths>({ baseUrl }).POST("/admin/auth/token", { body })).access_token;
const client = createClient<paths>({ baseUrl, headers: { Authorization: `Bearer ${token}` } });

const query = { limit: 1, "status[]": ["pending" as const], "created_at[gt]": "2020-01-01T00:00:00Z" };
const list = answered(await client.GET("/admin/orders", { params: { query } }));
const count: number = list.count;
const [listed] = list.orders;
if (listed === undefined) throw new Error("there is no order");

const { order } = answered(await client.GET("/admin/orders/{id}", { params: { path: { id: listed.id } } }));
const quantities: (number | undefined)[] | undefined = order.items?.map((item) => item.quantity);

const draft: components["schemas"]["orders.DraftBody"] = JSON.parse(given("DRAFT"));
const { draft_order } = answered(await client.POST("/admin/draft-orders", { body: draft }));

const refused = await client.GET("/admin/orders/{id}", { params: { path: { id: "order_nobody" } } });
const type: string | undefined = typeof refused.error === "object" ? refused.error.type : undefined;

console.log(JSON.stringify({ count, order: order.id, quantities, draft: draft_order.id, type }));
